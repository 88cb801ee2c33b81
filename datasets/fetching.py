"""Bringing one shard into the cache: room reserved first, bytes copied, read back and verified, then given its name.

The checksum is taken from the file and not from the stream, so it also covers what the disk did, and whoever wrote to
the file meanwhile; the mark that tells an untouched file is set before, so that later changes are seen.
Source: ours. Trade-off: no flush to disk; a file that a power cut left half written fails its checksum when it is
opened next, and is fetched again.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.datasets import cache_folder as files
from resight.datasets.cache_lock import locked
from resight.datasets.open_shard import OpenShard

__all__ = ["Wanted", "fill", "is_fetched", "make_room", "reserve"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A shard, as a cache knows it.

    Attributes:
        storage, key: where it comes from.
        sha256: of its bytes, which is its name in the cache.
        size: bytes.
    """

    storage: Storage
    key: str
    sha256: str
    size: int

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"{self.storage.url}/{self.key}"


def make_room(folder: Path, *, limit: int, need: int, let_go: Callable[[], None], wait: Callable[[], None]) -> None:
    """Remove rubbish, and the shards used least recently, until `need` bytes fit; under the cache's lock.

    Args:
        folder: of the cache.
        limit: bytes it may hold.
        need: bytes wanted.
        let_go: makes this process close what has to go.
        wait: called while other processes have not let go, or are fetching; it raises when that takes too long.
    """
    entries = _listed(folder, wait)
    while sum(entry.size for entry in entries) + need > limit:
        chosen = files.to_evict(entries, limit=limit, need=need)
        if chosen:
            for name in chosen:
                files.retire(folder, name)
            let_go()
        else:
            wait()
        entries = _listed(folder, wait)


def _listed(folder: Path, wait: Callable[[], None]) -> list[files.Entry]:
    files.sweep(folder)
    with locked(folder, wait):  # nobody renames meanwhile, so none is missed
        return files.entries_of(folder)


def is_fetched(folder: Path, wanted: Wanted) -> bool:
    """Tell whether a shard is there or being fetched; under the cache's lock, rubbish is removed first."""
    files.sweep(folder)
    partial = files.partial_file(folder, wanted.sha256, wanted.size)
    return partial.exists() or files.shard_file(folder, wanted.sha256).exists()  # in the order of the names it has


def reserve(folder: Path, wanted: Wanted) -> int:
    """Make the shard's partial file at its full length and lock it; under the cache's lock, when there is room.

    Returns:
        The file's descriptor.
    """
    path = files.partial_file(folder, wanted.sha256, wanted.size)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.posix_fallocate(handle, 0, wanted.size)
    except OSError:
        path.unlink(missing_ok=True)
        os.close(handle)
        raise
    return handle


def fill(folder: Path, wanted: Wanted, handle: int, wait: Callable[[], None]) -> OpenShard | None:
    """Fetch the bytes into a reserved file, verify them and give the file its name.

    Returns:
        The open shard; None when somebody damaged or deleted the file meanwhile.

    Raises:
        UserError: when the storage's bytes are not those of the data set's card, or cannot be read.
    """
    path = files.partial_file(folder, wanted.sha256, wanted.size)
    opened = OpenShard(handle, path, wanted.size)
    try:
        _copy(wanted, handle)
        os.utime(handle, ns=(time.time_ns(), files.UNTOUCHED_NS))
        if opened.whole(wanted.sha256):
            with locked(folder, wait):
                if opened.named():
                    opened.rename(files.shard_file(folder, wanted.sha256))
                    return opened
        _check_source(wanted)
        return None
    except FileNotFoundError:  # the partial file was deleted
        return None
    finally:
        if opened.path == path and opened.named():
            path.unlink(missing_ok=True)


def _copy(wanted: Wanted, handle: int) -> None:
    at = 0
    for piece in wanted.storage.chunks(wanted.key):
        if at + len(piece) > wanted.size:
            break  # more than was reserved: `_check_source` will say so
        at += _write(handle, piece, at)


def _write(handle: int, piece: bytes, at: int) -> int:
    view, done = memoryview(piece), 0
    while done < len(piece):
        done += os.pwrite(handle, view[done:], at + done)
    return done


def _check_source(wanted: Wanted) -> None:
    """Raise when the source itself is not what the card says."""
    digest, size = hashlib.sha256(), 0
    for piece in wanted.storage.chunks(wanted.key):
        digest.update(piece)
        size += len(piece)
    if digest.hexdigest() != wanted.sha256:
        raise UserError(
            f"the shard has sha256 {digest.hexdigest()} and {size:,} bytes, but the data set's card says "
            f"{wanted.sha256} and {wanted.size:,}",
            where=wanted.where,
            cure="copy the data set again, or make it again",
        )
