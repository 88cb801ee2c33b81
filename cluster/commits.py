"""Commit records: the last thing published of a unit, and the only proof that it exists.

`_commits/{name}.json` holds the specification hash, each file's sha256 and size, and the facts. Files come first, the
record last, so a record without its files can only mean that somebody removed them. Two publishers of one unit are
harmless because its bytes are a function of its specification; should they differ all the same, the first committed
copy wins and the other is noted under `_conflicts/`. When both publish in the same moment, the record ends up saying
what lies there.

Trade-off: there is no lock. Two runs on one folder may do the same work twice, but neither ever waits for a dead one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.cluster.units import Made, Unit, canonical_json, settings_of, spec_hash

__all__ = ["Commit", "FileRecord", "check_settings", "commit_key", "describe", "is_complete", "publish", "read_commit"]


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One published file: its sha256 (64 hex digits) and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The record of one published unit.

    Attributes:
        name: the unit's name.
        spec_hash: the identity of the result.
        fingerprint: the version of the code that made the bytes.
        settings: the specification for people: key -> JSON, or its hash when long.
        files: storage key -> sha256 and size.
        facts: what the work had to say.
        attempt: which attempt succeeded, from 1.
    """

    name: str
    spec_hash: str
    fingerprint: str
    settings: Mapping[str, str]
    files: Mapping[str, FileRecord]
    facts: Mapping[str, Any]
    attempt: int = 1

    def to_json(self) -> bytes:
        """Return the record as it is published."""
        return (json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Commit":
        """Read a record."""
        fields: dict[str, Any] = json.loads(data)
        fields["files"] = {key: FileRecord(**record) for key, record in fields["files"].items()}
        return cls(**fields)


def commit_key(name: str) -> str:
    """Return the storage key of a unit's record."""
    return f"_commits/{name}.json"


def read_commit(storage: Storage, name: str) -> Commit | None:
    """Return a unit's record, or None when it was never committed; UserError when it cannot be read."""
    key = commit_key(name)
    if not storage.exists(key):
        return None
    try:
        return Commit.from_json(storage.read(key))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        cure = "delete this file: the unit is then made again"
        raise UserError(f"{key} is not a commit record", where=storage.url, cure=cure) from error


def is_complete(storage: Storage, record: Commit) -> bool:
    """Tell whether every file of the record is there with the recorded size (bytes are checked by data checks)."""
    return all(storage.exists(key) and storage.size(key) == file.size for key, file in record.files.items())


def check_settings(storage: Storage, record: Commit, unit: Unit, fingerprint: str) -> None:
    """Refuse to put a unit of other settings over a published one.

    Raises:
        UserError: naming what is there, what was asked for, and the settings that differ.
    """
    if record.spec_hash == spec_hash(unit, fingerprint):
        return
    raise UserError(
        f"{unit.name!r} is already published with other settings: " + _difference(record, unit, fingerprint),
        where=storage.url,
        cure="choose another folder, or delete this one",
    )


def _difference(record: Commit, unit: Unit, fingerprint: str) -> str:
    there = {**record.settings, "made by": record.fingerprint}
    asked = {**settings_of(unit), "made by": fingerprint}
    keys = [key for key in sorted(there.keys() | asked.keys()) if there.get(key) != asked.get(key)]
    return "; ".join(_differs(key, there.get(key, "absent"), asked.get(key, "absent")) for key in keys)


def _differs(key: str, there: str, asked: str) -> str:
    long = there.startswith("sha256:") and asked.startswith("sha256:")
    return f"other {key}" if long else f"{key} is {there}, asked for {asked}"


def describe(unit: Unit, made: Made, *, fingerprint: str, attempt: int) -> Commit:
    """Return the record of what was made, not yet published.

    Raises:
        ValueError: for a storage key that belongs to the pool, or facts that JSON cannot hold.
        OSError: when a file is no longer as long as it was when the work read it back.
    """
    for key in made.files:
        if key.startswith(("_commits/", "_conflicts/")):
            raise ValueError(f"unit {unit.name!r} made {key!r}, but that folder belongs to the pool")
    return Commit(
        name=unit.name,
        spec_hash=spec_hash(unit, fingerprint),
        fingerprint=fingerprint,
        settings=settings_of(unit),
        files={key: _file_record(path, made.read_back.get(key)) for key, path in sorted(made.files.items())},
        facts=json.loads(canonical_json(dict(made.facts))),  # as it will read back: lists for tuples
        attempt=attempt,
    )


def publish(storage: Storage, unit: Unit, made: Made, ours: Commit) -> Commit:
    """Publish a unit's files, then its record.

    Returns:
        The record that counts: `ours`, or that of another publisher who was first.

    Raises:
        UserError: when publishing fails, or the folder holds the unit with other settings.
    """
    first = read_commit(storage, unit.name)
    if first is not None:
        check_settings(storage, first, unit, ours.fingerprint)
        if is_complete(storage, first):
            return _settle(storage, ours, first)
    for key, path in sorted(made.files.items()):
        storage.publish_file(path, key)
    repair = first is not None  # a record whose files were lost gives way
    if storage.publish(ours.to_json(), commit_key(unit.name), exclusive=not repair):
        return ours
    winner = read_commit(storage, unit.name)
    if winner is None:
        return ours
    if ours.files != winner.files and _lies_there(storage, ours):
        # Both were at it in the same moment, and our files came last: a record has to say what lies there.
        storage.publish(ours.to_json(), commit_key(unit.name))
        _settle(storage, winner, ours)
        return ours
    return _settle(storage, ours, winner)


def _file_record(path: Path, read_back: tuple[str, int] | None) -> FileRecord:
    size = path.stat().st_size
    if read_back is not None:
        digest, expected = read_back
        if size != expected:
            raise OSError(f"{path} has {size} bytes, and had {expected} when it was read back")
        return FileRecord(sha256=digest, size=size)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(sha256=digest, size=size)


def _lies_there(storage: Storage, record: Commit) -> bool:
    """Tell whether the files that are there are those of a record."""
    return all(storage.exists(key) and _sha256(storage, key) == file.sha256 for key, file in record.files.items())


def _sha256(storage: Storage, key: str) -> str:
    digest = hashlib.sha256()
    for piece in storage.chunks(key):
        digest.update(piece)
    return digest.hexdigest()


def _settle(storage: Storage, ours: Commit, first: Commit) -> Commit:
    """Let the first committed copy win; note a copy that differs."""
    if ours.files != first.files:
        mark = hashlib.sha256(ours.to_json()).hexdigest()[:12]
        storage.publish(ours.to_json(), f"_conflicts/{ours.name}-{mark}.json")
    return first
