"""Check jaxtyping's shapes at run time, in tests only.

jaxtyping's own import hook rewrites every function of a module, which numba cannot compile, and gives all annotations
to beartype, which refuses plain Protocols. This one waits until a module is loaded and then wraps only its functions
and methods that name a shape, and checks only the annotations that do. A function that was captured while its module
was loading (in a registry, by `@njit`, by `torch.compile`) stays as it is. A function that refuses wrong shapes in
its own words keeps them, so tests of user errors need nothing special.
"""

import functools
import importlib.machinery
import inspect
import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from typing import Any, get_args

import torch
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError, jaxtyped

_CONF = BeartypeConf(is_pep484_tower=True)


def install(package: str) -> None:
    """Check the shapes of all modules of `package` that are imported from now on."""
    loaded = [name for name in sys.modules if name.startswith(f"{package}.")]
    assert not loaded, f"imported before the shape checks: {loaded}"
    sys.meta_path.insert(0, _Finder(package))


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._prefix = f"{package}."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(self._prefix):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, str(spec.loader.path))
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: types.ModuleType) -> None:
        super().exec_module(module)
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", None) == module.__name__:
                if inspect.isclass(value):
                    _wrap_methods(value)
                elif _names_shape(value):
                    setattr(module, name, _checked(value))


def _wrap_methods(owner: type) -> None:
    for name, value in list(vars(owner).items()):
        if _names_shape(value) and name != "__init__":
            setattr(owner, name, _checked(value))


def _names_shape(value: object) -> bool:
    return isinstance(value, types.FunctionType) and any(_is_shape(hint) for hint in value.__annotations__.values())


def _is_shape(hint: object) -> bool:
    direct = inspect.isclass(hint) and issubclass(hint, AbstractArray)
    return direct or any(_is_shape(inner) for inner in get_args(hint))


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    strict = jaxtyped(typechecker=_shapes_only)(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # the checks are no part of what is compiled
            return function(*args, **kwargs)
        try:
            return strict(*args, **kwargs)
        except TypeCheckError:
            _let_it_refuse(function, args, kwargs)
            raise

    return call


def _let_it_refuse(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    from resight.cluster.errors import UserError

    try:
        function(*args, **kwargs)
    except (UserError, ValueError):
        raise
    except Exception:  # noqa: BLE001 - the shape is the better explanation
        return


def _shapes_only(function: Any) -> Any:
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if _is_shape(hint)}
    return beartype(conf=_CONF)(function) if function.__annotations__ else function
