"""Frozen dataclasses to and from plain trees (dicts, lists, numbers, texts), strictly.

The annotations are the schema: an unknown key, a missing one or a value of another type is a `UserError` that names
the dotted path and, for names, the nearest that exists. Texts are read as numbers where a number is expected, because
YAML 1.1 takes `1e-3` for text and a command line has nothing but text. Nothing else is converted: a union of
dataclasses is told apart by its `kind` field and never by which one happens to fit, an integer is never a switch and
0.5 is never an integer.

Why our own 150 lines: the loaders that were tried each ignore unknown keys, guess a union's member or lose tuples.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, cast

from resight.cluster.errors import UserError, did_you_mean

__all__ = ["Tree", "build", "fields_of", "plain"]

Tree = dict[str, Any]
"""A config as JSON and YAML know it."""

T = TypeVar("T")
_WORDS: Final = {"true": True, "false": False}
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")


def plain(value: Any) -> Any:
    """Return `value` as dicts, lists, numbers and texts; tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def build(kind: type[T], tree: Any, *, path: str = "") -> T:
    """Return the dataclass `kind` that `tree` describes.

    Args:
        kind: a dataclass whose annotations are dataclasses, Literals, unions, tuples, dict[str, ...] or scalars.
        tree: what a YAML or JSON reader gave.
        path: where `tree` lies in the whole config, e.g. "optim"; "" for the root.

    Raises:
        UserError: on an unknown or missing key or a value of the wrong type.
    """
    return _dataclass(kind, tree, path)


def fields_of(kind: type[Any]) -> dict[str, Any]:
    """Return {field: its resolved annotation} of a dataclass, in declared order."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _dataclass(kind: type[T], tree: Any, path: str) -> T:
    if not isinstance(tree, Mapping):
        raise _wrong(path or "the config", "a mapping of fields", tree)
    hints = fields_of(kind)
    for key in tree:
        if key not in hints:
            raise UserError(f"unknown key {str(key)!r}", where=_join(path, key), cure=did_you_mean(str(key), hints))
    values = {key: _value(hints[key], item, _join(path, key)) for key, item in tree.items()}
    _all_present(kind, tree, path)
    return kind(**values)


def _all_present(kind: type[Any], tree: Mapping[str, Any], path: str) -> None:
    for field in dataclasses.fields(kind):
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in tree and not has_default:
            where = _join(path, field.name)
            raise UserError(f"{where} is missing", where=where, cure="give it a value; the recipe's own shows how")


def _value(hint: Any, value: Any, path: str) -> Any:
    """Return `value` as `hint` says, or raise the error that names `path`."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast("type[Any]", hint), value, path)
    if origin is Literal:
        return _literal(typing.get_args(hint), value, path)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint), value, path)
    if origin is tuple:
        return _tuple(typing.get_args(hint), value, path)
    if origin is dict:
        return _dict(typing.get_args(hint)[1], value, path)
    return _scalar(hint, value, path)


def _literal(options: Sequence[Any], value: Any, path: str) -> Any:
    for option in options:
        if option == value and type(option) is type(value):
            return option
    names = [str(option) for option in options]
    raise UserError(f"{path} is {value!r}", where=path, cure=did_you_mean(str(value), names))


def _union(members: Sequence[Any], value: Any, path: str) -> Any:
    """Choose by None, by `kind` for dataclasses, or else the first scalar or tuple that takes the value."""
    if value is None and types.NoneType in members:
        return None
    rest = [member for member in members if member is not types.NoneType]
    variants = [member for member in rest if dataclasses.is_dataclass(member)]
    if len(rest) == 1:
        return _value(rest[0], value, path)
    if variants and len(variants) == len(rest):
        return _variant(cast("list[type[Any]]", variants), value, path)
    for member in rest:
        try:
            return _value(member, value, path)
        except UserError:
            continue
    raise _wrong(path, " or ".join(_name(member) for member in rest), value)


def _variant(variants: Sequence[type[Any]], value: Any, path: str) -> Any:
    by_kind = {option: variant for variant in variants for option in typing.get_args(fields_of(variant)["kind"])}
    if not isinstance(value, Mapping) or "kind" not in value:
        raise UserError(f"{path} does not say its kind", where=_join(path, "kind"), cure=did_you_mean("", by_kind))
    kind = value["kind"]
    if kind not in by_kind:
        raise UserError(f"{path}.kind is {kind!r}", where=f"{path}.kind", cure=did_you_mean(str(kind), by_kind))
    return _dataclass(by_kind[kind], value, path)


def _tuple(members: Sequence[Any], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _wrong(path, "a list", value)
    items = list(cast("Sequence[Any]", value))
    if len(members) == 2 and members[1] is Ellipsis:
        members = [members[0]] * len(items)
    if len(members) != len(items):
        raise _wrong(path, f"a list of {len(members)} entries", value)
    return tuple(_value(m, item, _join(path, i)) for i, (m, item) in enumerate(zip(members, items, strict=True)))


def _dict(member: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, "a mapping", value)
    return {str(key): _value(member, item, _join(path, key)) for key, item in value.items()}


def _scalar(hint: Any, value: Any, path: str) -> Any:
    read = {bool: _bool, int: _int, float: _float, str: _text}.get(hint)
    assert read is not None, f"{path}: the schema does not know {hint}"
    result = read(value)
    if result is None:
        raise _wrong(path, _name(hint), value)
    return result


def _bool(value: Any) -> bool | None:
    return _WORDS.get(value.lower()) if isinstance(value, str) else (value if isinstance(value, bool) else None)


def _int(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value.strip()) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _name(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(hint, str(hint))


def _wrong(path: str, expected: str, value: Any) -> UserError:
    found = f"the text {value!r}" if isinstance(value, str) else f"{value!r}"
    return UserError(f"{path} must be {expected}, not {found}", where=path, cure=f"give {expected}")
