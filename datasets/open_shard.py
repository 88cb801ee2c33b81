"""A cached shard held open, read by offset, every read checked against changes underneath.

Reading is `pread` and not a memory map: a mapped file that somebody truncates kills the process, a short read is an
error that can be mended. After each read the file's time of change and length are looked at: whoever wrote to it before
the read was over has changed them, so bytes that pass are those that were verified.
While the object lives, its file is locked (shared) and will not be removed; the handle closes with the last reference.
Source: ours. Trade-off: a copy and two system calls a read, 2 us more than a memory map.
"""

import fcntl
import hashlib
import os
from os import fstat, pread
from pathlib import Path

from resight.datasets.cache_folder import UNTOUCHED_NS

__all__ = ["OpenShard", "open_if_there"]


class OpenShard:
    """An open, locked file of the cache.

    Args:
        handle: file descriptor with a shared lock, owned from now on.
        path: its name when it was opened.
        size: bytes it should have.

    Attributes:
        used: set by each read; the cache's keeper turns it into a stamp.
    """

    __slots__ = ("_handle", "_path", "_size", "used")

    def __init__(self, handle: int, path: Path, size: int) -> None:
        self._handle = handle
        self._path = path
        self._size = size
        self.used = True

    def __del__(self) -> None:
        """Close and unlock, when the last reader has let go."""
        os.close(self._handle)

    @property
    def handle(self) -> int:
        """The file descriptor."""
        return self._handle

    @property
    def path(self) -> Path:
        """The name it has, unless somebody took it away."""
        return self._path

    @property
    def inode(self) -> int:
        """The file's number, to tell it from another one of the same name."""
        return os.fstat(self._handle).st_ino

    def read(self, offset: int, size: int) -> bytes | None:
        """Return some bytes, fewer only at the end of the shard; None when the file was changed or cannot be read."""
        self.used = True
        try:
            data = pread(self._handle, size, offset)
        except OSError:  # the disk cannot read it: as bad as changed
            return None
        # Looked at after the read, so that a change before it or during it is seen; a cut changes the size first.
        facts = fstat(self._handle)
        return data if facts.st_mtime_ns == UNTOUCHED_NS and facts.st_size == self._size else None

    def intact(self) -> bool:
        """Tell whether nobody wrote to the file since it was made."""
        facts = os.fstat(self._handle)
        return facts.st_mtime_ns == UNTOUCHED_NS and facts.st_size == self._size

    def rename(self, path: Path) -> None:
        """Give the file another name."""
        self._path.rename(path)
        self._path = path

    def named(self) -> bool:
        """Tell whether the file still has the name it was opened by; when not, it should be let go."""
        try:
            return self._path.stat().st_ino == self.inode
        except FileNotFoundError:
            return False

    def whole(self, sha256: str) -> bool:
        """Read everything; tell whether it is untouched and has this checksum."""
        if not self.intact():
            return False
        with open(self._handle, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256 and self.intact()


def open_if_there(path: Path, size: int) -> OpenShard | None:
    """Open and lock a cached file; None when it is not there, or on its way out."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    opened = OpenShard(handle, path, size)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # renamed since, and being removed
        return None
    return opened if opened.named() else None
