"""What lies in a shard cache's folder, and who must go when there is too little room.

    lock                whoever reserves room holds it; the folder itself is locked for a moment to list or name files
    SHA256.tar          a whole shard, named after its content
    .tmp-SHA256-SIZE    one that is being fetched, and how long it will be
    .old-SHA256-RANDOM  one that has to go, as soon as nobody has it open

The listing itself is the book-keeping: a byte counts from the moment it is reserved until its file is gone, so a
process that is killed leaves no book in disorder. A file in use is locked (shared) by whoever uses it; the system drops
the lock when that process dies, so a `.tmp-` or `.old-` file with a free lock is rubbish. Other files are not ours and
are neither counted nor touched.

Two times of a shard's file carry meaning. Its time of change is a fixed mark: whoever writes to the file changes that,
so one look tells an untouched file. Its time of access is set by us at use, and orders eviction.
Source: ours. Trade-off: a listing costs a few microseconds a file, once a fetch; a fetch costs thousands of times more.
"""

import ctypes
import fcntl
import os
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["UNTOUCHED_NS", "Entry", "entries_of", "partial_file", "retire", "shard_file", "stamp", "sweep", "to_evict"]

UNTOUCHED_NS: Final = 1_000_000_000
"""Time of change of every whole shard, in ns since 1970: a second, so that any file system can hold it."""

_NAME: Final = re.compile(r"[0-9a-f]{64}\.tar|\.tmp-[0-9a-f]{64}-(?P<size>[0-9]+)|\.old-[0-9a-f]{64}-[0-9a-f]{32}")
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of the cache.

    Attributes:
        name: in the folder.
        kind: a whole shard, a partial one, or an old one that has to go.
        size: bytes; of a partial shard those it will have.
        used: when it was last used, ns since 1970.
    """

    name: str
    kind: Literal["whole", "partial", "old"]
    size: int
    used: int


def shard_file(folder: Path, sha256: str) -> Path:
    """Return the path of a whole shard."""
    return folder / f"{sha256}.tar"


def partial_file(folder: Path, sha256: str, size: int) -> Path:
    """Return the path of a shard that is being fetched."""
    return folder / f".tmp-{sha256}-{size}"


def entries_of(folder: Path) -> list[Entry]:
    """List the cache's files; those that vanish meanwhile are left out.

    A listing may miss a file whose name changes meanwhile: hold the folder's lock where every byte has to count.
    """
    found: list[Entry] = []
    with os.scandir(folder) as files:
        for file in files:
            if match := _NAME.fullmatch(file.name):
                try:
                    facts = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                size = max(facts.st_size, int(match["size"] or 0))
                found.append(Entry(name=file.name, kind=_kind(file.name), size=size, used=facts.st_atime_ns))
    return found


def _kind(name: str) -> Literal["whole", "partial", "old"]:
    if name.startswith(".tmp-"):
        return "partial"
    return "old" if name.startswith(".old-") else "whole"


def to_evict(entries: Sequence[Entry], *, limit: int, need: int) -> tuple[str, ...] | None:
    """Choose what must go so that `need` more bytes fit: whole shards, least recently used first, no more than needed.

    Args:
        entries: everything in the folder. Old files are on their way out already and take no room in this sum.
        limit: bytes the folder may hold.
        need: bytes wanted.

    Returns:
        Names in order; None when even without any whole shard there is no room yet, because of partial ones.
    """
    staying = sum(entry.size for entry in entries if entry.kind != "old")
    chosen: list[str] = []
    whole = (entry for entry in entries if entry.kind == "whole")
    for entry in sorted(whole, key=lambda entry: (entry.used, entry.name)):
        if staying + need <= limit:
            break
        chosen.append(entry.name)
        staying -= entry.size
    return tuple(chosen) if staying + need <= limit else None


def retire(folder: Path, name: str) -> None:
    """Take a shard's name away: nobody can open it any more, and who has it open will see that and let go."""
    with suppress(FileNotFoundError):  # when somebody else has removed it
        (folder / name).rename(folder / f".old-{name.removesuffix('.tar')}-{uuid.uuid4().hex}")


def sweep(folder: Path) -> None:
    """Remove old and partial files that nobody uses; under the cache's lock, where partial files are made."""
    for entry in entries_of(folder):
        if entry.kind != "whole":
            _remove_if_free(folder / entry.name)


def _remove_if_free(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return
    finally:
        os.close(handle)


class _Time(ctypes.Structure):
    """C's `struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_STAMP: Final = (_Time * 2)(_Time(0, _UTIME_NOW), _Time(0, _UTIME_OMIT))
_LIBC: Final = ctypes.CDLL(None)


def stamp(handle: int) -> None:
    """Note that an open shard is in use, its mark left alone: `os.utime` cannot set one time without the other.

    A stamp that fails costs nothing but the order of eviction.
    """
    _LIBC.futimens(handle, _STAMP)
