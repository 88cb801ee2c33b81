"""Reading somebody else's WebDataset tar once, trusting nothing: what its samples are, and where their bytes lie.

Python's `tarfile` stops without a word at a torn header and at the first block of zeros, so a truncated tar looks like
a short one. Here a tar counts only if every member ends before the file does, the end-of-archive mark follows the last
one, and nothing but zeros follows that. Names must be relative and plain; links and devices are refused; sizes are
limited; nothing is ever extracted. A sample without a usable picture header is left out with its key and reason.
Source: POSIX.1-2001 (ustar, pax), by the standard library; WebDataset's naming convention (the first dot of the base
name splits key from suffix, members of a sample stand side by side). Trade-off: every byte is read once, for the
checksums; about the time that a first epoch would take to read them.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from resight.cluster.errors import UserError
from resight.datasets.decode import Undecodable, image_size

__all__ = ["MAX_MEMBER_BYTES", "Scanned", "scan_tar"]

MAX_MEMBER_BYTES: Final = 64 << 20
"""A crop is far smaller; a member beyond this is not one, or not meant well."""

_IMAGES: Final = ("jpg", "jpeg", "png")
_PLANES: Final = {"mask.png": "mask", "parts.png": "parts"}
_NUMBERS: Final = ("pid", "camid", "viewid", "outfit", "tracklet", "frame")
_AGAIN: Final = "copy the tar again"


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What one tar holds.

    Attributes:
        rows: index columns by name, one dict a sample, without what depends on other tars; `key` is as in the tar.
        quarantined: samples left out, each {"key", "reason", "shard"}.
        sha256, size: of the whole file; size in bytes.
    """

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    quarantined: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    sha256: str
    size: int


def scan_tar(path: Path, *, shard: str) -> Scanned:
    """Read a tar.

    Args:
        path: a plain tar (not compressed).
        shard: the name it has in the index.

    Raises:
        UserError: for a tar that is truncated, compressed, or has something in it that a WebDataset never has.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        members = _members(file, path, size)
        rows: list[dict[str, Any]] = []
        bad: list[dict[str, str]] = []
        for key, group in groupby(members, key=lambda member: _key(member.name)):
            try:
                rows.append({"key": key, "shard": shard, **_row(file, key, _suffixed(group))})
            except Undecodable as error:
                bad.append({"key": key, "reason": error.reason, "shard": shard})
    return Scanned(rows=rows, quarantined=bad, sha256=sha256, size=size)


def _members(file: BinaryIO, path: Path, size: int) -> list[tarfile.TarInfo]:
    """Return the files in a tar, all of them whole; refuse what is torn or unsafe, before reading on behind it."""
    file.seek(0)
    members: list[tarfile.TarInfo] = []
    end = at = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while member := tar.next():
                if member.size < 0 or member.offset < at:
                    raise _torn(path, f"member {member.name!r} has a negative size")  # would be read for ever
                _refuse(member, path)
                at = member.offset + tarfile.BLOCKSIZE
                end = tar.offset  # of what follows
                if end > size:
                    raise _torn(path, f"truncated: member {member.name!r} ends at byte {end:,}, the file at {size:,}")
                members.append(member)
    except tarfile.TarError as error:
        raise _torn(path, f"this is no plain tar, or a truncated one: {error}") from error
    _ended(file, path, end, size)
    return [member for member in members if member.isfile()]


def _ended(file: BinaryIO, path: Path, end: int, size: int) -> None:
    """Check that the end mark follows the last member, and only zeros that."""
    if size < end + tarfile.BLOCKSIZE:
        raise _torn(path, f"truncated: the end-of-archive mark is missing after byte {end:,}")
    file.seek(end)
    while block := file.read(1 << 20):
        if block.count(0) != len(block):
            end += len(block) - len(block.lstrip(b"\0"))
            raise _torn(path, f"the archive should have ended, and there is something else at byte {end:,}")
        end += len(block)


def _refuse(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    what = ""
    if not (member.isfile() or member.isdir()) or member.issparse():
        what = "is a link, a device or a sparse file"
    elif name.is_absolute() or ".." in name.parts or not member.name.isprintable() or "\\" in member.name:
        what = "has a name that leads out of the archive or cannot be printed"
    elif member.size > MAX_MEMBER_BYTES:
        what = f"has {member.size:,} bytes, more than {MAX_MEMBER_BYTES:,}"
    if what:
        cure = "leave it out, or pack the images anew: resight pack folder"
        raise UserError(f"member {member.name!r} {what}", where=str(path), cure=cure)


def _torn(path: Path, problem: str) -> UserError:
    return UserError(problem, where=str(path), cure=_AGAIN)


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _suffixed(members: Iterator[tarfile.TarInfo]) -> list[tuple[str, tarfile.TarInfo]]:
    return [(member.name.rpartition("/")[2].partition(".")[2].lower(), member) for member in members]


def _row(file: BinaryIO, key: str, found: list[tuple[str, tarfile.TarInfo]]) -> dict[str, Any]:
    """Return a sample's index columns; Undecodable says why it has to be left out."""
    members = dict(found)
    if key.endswith("/") or not key:
        raise Undecodable(f"{found[0][1].name!r} has no key before its first dot")
    if len(members) < len(found):
        raise Undecodable(f"two members with the same suffix: {', '.join(suffix for suffix, _ in found)}")
    image = next((members[suffix] for suffix in _IMAGES if suffix in members), None)
    if image is None:
        raise Undecodable(f"no image among its members: {', '.join(sorted(members))}")
    data = _read(file, image)
    height, width = image_size(data)
    row: dict[str, Any] = {
        **_numbers(file, members.get("json")),
        "origin": image.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "height": height,
        "width": width,
        "image_offset": image.offset_data,
        "image_size": image.size,
    }
    for suffix, column in _PLANES.items():
        if suffix in members:
            row[f"{column}_offset"], row[f"{column}_size"] = members[suffix].offset_data, members[suffix].size
    return row


def _read(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    return file.read(member.size)


def _numbers(file: BinaryIO, member: tarfile.TarInfo | None) -> dict[str, int]:
    """Return the record's numbers that the sample's JSON has; -1 for the others."""
    try:
        known: Any = json.loads(_read(file, member)) if member else {}
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"its JSON cannot be read: {error}") from error
    values = known if isinstance(known, dict) else {}
    return {name: _number(name, values.get(name, -1)) for name in _NUMBERS}


def _number(name: str, value: Any) -> int:
    limit = 1 << (31 if re.search("cam|view", name) else 63)  # the index's types
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < limit:
        raise Undecodable(f"{name} is {value!r}, not an integer of -1 or more")
    return value
