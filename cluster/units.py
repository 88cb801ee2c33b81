"""What a pool works on: units, the work done on one, what was made, and the hash that says "the same again".

A unit is one output shard, a deterministic function of its specification. Its identity is a hash over the canonical
JSON of the specification and the version of the code that makes bytes, so "already made" never depends on names or
dates.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from resight.cluster.errors import UserError

__all__ = ["Made", "Unit", "Work", "canonical_json", "check_names", "settings_of", "spec_hash"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LONG_SETTING = 120  # characters; longer values stand in a commit record as their hash


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One output shard.

    Attributes:
        name: safe as a file name, unique in a folder, e.g. "train-000003"; the commit record's key.
        spec: everything the bytes depend on, as JSON values with string keys.
    """

    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What one call of a work left behind.

    Attributes:
        files: storage key -> finished local file inside the scratch folder.
        facts: JSON-able summary, kept in the commit record: counts, members left out, and the like.
        read_back: storage key -> sha256 (64 hex digits) and bytes, of files that the work itself has read from the disk
            after they were finished; those are not read again, and what is published must still be as long.
    """

    files: Mapping[str, Path]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    read_back: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])


class Work(Protocol):
    """The function from a unit to its files. Picklable: each thread or actor of a pool gets one copy of its own."""

    @property
    def fingerprint(self) -> str:
        """The version of the code that makes bytes, e.g. "render-1/numba-0.68"."""
        ...

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        """Make the unit's files inside `scratch`, an empty folder that is removed afterwards."""
        ...


def canonical_json(value: object) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, ASCII.

    Raises:
        UserError: for a value that JSON cannot hold exactly (NaN, a key that is no string, an object).
    """
    _check_keys(value)
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"not a plain JSON value: {error}", cure="use str, int, float, bool, None, lists and dicts"
        ) from error


def _check_keys(value: object) -> None:
    """Refuse keys that JSON would silently turn into strings: 1 and "1" must not hash alike."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"not a plain JSON value: the key {key!r} is no string", cure="use strings as keys")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def spec_hash(unit: Unit, fingerprint: str) -> str:
    """Return the sha256 (64 hex digits) of the unit's specification and the work's fingerprint."""
    try:
        text = canonical_json({"fingerprint": fingerprint, "spec": dict(unit.spec)})
    except UserError as error:
        raise UserError(error.problem, where=f"the specification of unit {unit.name!r}", cure=error.cure) from error
    return hashlib.sha256(text.encode()).hexdigest()


def settings_of(unit: Unit) -> dict[str, str]:
    """Return the specification for people: each value as JSON, or as its hash when it is long."""

    def short(value: object) -> str:
        text = canonical_json(value)
        return text if len(text) <= _LONG_SETTING else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    return {key: short(value) for key, value in sorted(unit.spec.items())}


def check_names(units: Iterable[Unit]) -> None:
    """Refuse names that are no file names, and names used twice: both are mistakes of the caller's code."""
    seen: set[str] = set()
    for unit in units:
        if not _NAME.fullmatch(unit.name):
            raise ValueError(f"unit name {unit.name!r} is not safe as a file name")
        if unit.name in seen:
            raise ValueError(f"unit name {unit.name!r} is used twice")
        seen.add(unit.name)
