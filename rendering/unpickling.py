"""Pickles of arrays, read without running anything: the form in which body models are published.

What: `read_pickle` understands dictionaries of numbers, texts, numpy arrays, scipy's sparse matrices and the two
classes of `chumpy` that SMPL's files hold, and refuses every other name before it is imported. Why: unpickling a file
runs whatever its author put there; and `chumpy` no longer imports on current Python and numpy. Source: the format of
Python's own documentation of `pickle` ("Restricting Globals"); what the classes hold was read off published files.
Trade-off: arrays of Python objects are refused, so a file that needs them has to be exported again.
"""

import io
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np

from resight.cluster.errors import UserError

__all__ = ["read_pickle"]


class _Chumpy:
    """Stands in for a chumpy array: keeps its state, computes its value when asked."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)

    def value(self) -> np.ndarray:
        """Return the array: `x` of a plain one, chosen entries of another array for a selection."""
        if "x" in self.state:
            return np.asarray(_plain(self.state["x"]))
        if {"a", "idxs", "preferred_shape"} <= self.state.keys():
            source = np.asarray(_plain(self.state["a"])).ravel()
            chosen = source[np.asarray(self.state["idxs"]).ravel().astype(np.int64)]
            return chosen.reshape(tuple(int(size) for size in self.state["preferred_shape"]))
        raise pickle.UnpicklingError(f"a chumpy array with {', '.join(sorted(map(str, self.state)))} is not known")


class _Sparse:
    """Stands in for scipy's compressed columns."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)

    def value(self) -> np.ndarray:
        """Return the dense matrix."""
        shape = self.state.get("_shape", self.state.get("shape"))
        if shape is None or not {"data", "indices", "indptr"} <= self.state.keys():
            raise pickle.UnpicklingError("a sparse matrix without shape, data, indices and indptr")
        rows, columns = (int(size) for size in shape)
        data, indices, indptr = (np.asarray(self.state[name]) for name in ("data", "indices", "indptr"))
        out = np.zeros((rows, columns))
        out[indices, np.repeat(np.arange(columns), np.diff(indptr))] = data
        return out


def _encode(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes in old pickles as text and this call."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding}")
    return text.encode("latin1")


def _new(kind: type, base: type, state: None) -> object:
    """Python 2 makes objects of its own classes this way."""
    if kind not in (_Chumpy, _Sparse) or base is not object or state is not None:
        raise pickle.UnpicklingError(f"an object of {kind!r}")
    return kind()


_CORES: Final = ("numpy.core", "numpy._core")
_multiarray: Any = getattr(np, "_core").multiarray  # noqa: B009  (pickles of numpy name these functions)

_KNOWN: Final[dict[tuple[str, str], Any]] = {
    **{(f"{core}.multiarray", "_reconstruct"): _multiarray._reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _multiarray.scalar for core in _CORES},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    ("copy_reg", "_reconstructor"): _new,
    ("copyreg", "_reconstructor"): _new,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Chumpy,
    **{(f"scipy.sparse.{module}", "csc_matrix"): _Sparse for module in ("csc", "_csc")},
}
"""(module, name) -> what stands for it; nothing else is looked up."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no body model needs")
        return known


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, _Chumpy | _Sparse) else value


def read_pickle(path: str | Path) -> dict[str, Any]:
    """Read a pickled dictionary; sparse and chumpy arrays come back as numpy arrays.

    Raises:
        UserError: the file is missing, is no such pickle, or names anything that arrays do not need.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=str(path), cure="give the path of a body model") from error
    try:
        found = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError(f"it holds a {type(found).__name__}, not a dictionary")
        values = {str(name): _plain(value) for name, value in found.items()}
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(
            f"the pickle was refused: {error}",
            where=str(path),
            cure="use the file as its publisher gives it; nothing in it was run",
        ) from error
    return values
