"""Where published things live: one small Protocol, local folders as its first back end.

Three laws, whatever the back end: a key appears complete or not at all; publishing the same bytes twice is harmless;
nothing is ever appended to or changed in place. Local publishing writes a temporary file in the same folder, flushes it
to disk, renames it and flushes the folder, so that a power cut cannot leave a name without its bytes. Temporary names
start with `.tmp-`, are never listed, and are safe to delete when old.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing

__all__ = ["LocalStorage", "Storage", "open_storage"]

_TMP = ".tmp-"
_COPY_BYTES = 1 << 20
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
"""What a file system says that cannot link the two places."""


class Storage(Protocol):
    """A folder of published objects. Keys are relative POSIX paths such as "shards/train-000000.tar"."""

    @property
    def url(self) -> str:
        """The folder's absolute path, or its URL."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether `key` is published."""
        ...

    def size(self, key: str) -> int:
        """Return the object's length in bytes; UserError when it is not there."""
        ...

    def read(self, key: str) -> bytes:
        """Return the whole object; UserError when it is not there."""
        ...

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in order, in pieces that fit in memory; UserError when it cannot be read."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        ...

    def publish(self, data: bytes, key: str, *, exclusive: bool = False) -> bool:
        """Publish `data` under `key`, atomically.

        Args:
            data: the whole object.
            key: where.
            exclusive: leave an object that is already there alone.

        Returns:
            Whether these bytes were published; False only when `exclusive` and the key was taken.
        """
        ...

    def publish_file(self, path: Path, key: str) -> None:
        """Publish a finished local file under `key`, atomically; `path` itself is left alone."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; harmless when it is not there."""
        ...

    def local(self, key: str) -> Path:
        """Return a path on this machine that holds the complete object, fetching it when need be."""
        ...

    def sweep_temporaries(self, older_than_s: float) -> int:
        """Remove what interrupted publishing left behind, when untouched for so many seconds; return how many."""
        ...


class LocalStorage:
    """A folder on this machine, or on a file system that all nodes share."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def url(self) -> str:
        """The folder's absolute path."""
        return str(self.root)

    def exists(self, key: str) -> bool:
        """Tell whether `key` is published."""
        return self._path(key).is_file()

    def size(self, key: str) -> int:
        """Return the object's length in bytes."""
        return self.local(key).stat().st_size

    def read(self, key: str) -> bytes:
        """Return the whole object."""
        return self.local(key).read_bytes()

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in order, a MiB at a time."""
        try:
            with self.local(key).open("rb") as file:
                while piece := file.read(_COPY_BYTES):
                    yield piece
        except OSError as error:
            raise UserError(
                f"could not read {key!r}: {error.strerror}", where=self.url, cure="check the disk"
            ) from error

    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self.root
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(_TMP))
        keys = (path.relative_to(self.root).as_posix() for path in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def publish(self, data: bytes, key: str, *, exclusive: bool = False) -> bool:
        """Publish `data` under `key`: temporary file, flush, rename (or link, which refuses a name that is taken)."""
        return self._publish(key, lambda temporary: _write(temporary, data), _link if exclusive else _rename)

    def publish_file(self, path: Path, key: str) -> None:
        """Publish a finished file that nobody will change: linked or copied beside its place, flushed, renamed."""
        self._publish(key, lambda temporary: _adopt(path, temporary), _rename)

    def delete(self, key: str) -> None:
        """Remove `key`; harmless when it is not there."""
        self._path(key).unlink(missing_ok=True)

    def local(self, key: str) -> Path:
        """Return the object's path; UserError when it is not there."""
        path = self._path(key)
        if not path.is_file():
            raise UserError(f"{key!r} is not there", where=self.url, cure="check the path, or make it again")
        return path

    def sweep_temporaries(self, older_than_s: float) -> int:
        """Remove temporary files that nobody has written to for `older_than_s` seconds; return how many."""
        before = time.time() - older_than_s
        old = [path for path in self.root.rglob(f"{_TMP}*") if _modified(path) < before]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key)
        unsafe = parts.is_absolute() or ".." in parts.parts or "\\" in key or "\0" in key
        if not parts.parts or unsafe or parts.name.startswith(_TMP):
            raise UserError(f"{key!r} is not a storage key", where=self.url, cure="use a relative path without '..'")
        return self.root / parts

    def _publish(self, key: str, make: Callable[[Path], None], place: Callable[[Path, Path], bool]) -> bool:
        target = self._path(key)
        temporary = target.with_name(f"{_TMP}{uuid.uuid4().hex}")
        with writing(repr(key), self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                make(temporary)
                placed = place(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(target.parent)
        return placed


def _write(temporary: Path, data: bytes) -> None:
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _adopt(path: Path, temporary: Path) -> None:
    """Make `temporary` the same file as `path` where the file system allows it, else a copy: half the bytes written."""
    try:
        os.link(path, temporary)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("rb") as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file, _COPY_BYTES)
            file.flush()
            os.fsync(file.fileno())
    else:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def _rename(temporary: Path, target: Path) -> bool:
    """Give the file its name, whatever had it."""
    temporary.replace(target)
    return True


def _link(temporary: Path, target: Path) -> bool:
    """Give the file its name unless another has it: what a rename cannot tell in one step."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    return True


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # its writer finished in this moment
        return float("inf")


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of names: without it a rename may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_storage(url: str | Path) -> Storage:
    """Open the storage behind a path or URL.

    Args:
        url: a local path, or one on a file system that all nodes share.

    Raises:
        UserError: for a URL scheme that has no back end.
    """
    text = str(url)
    scheme, separator, _ = text.partition("://")
    if separator:
        cure = "this version publishes to local folders and to file systems that all nodes mount: give a plain path"
        raise UserError(f"no storage back end for {scheme}:// ({text!r})", cure=cure)
    return LocalStorage(Path(text).expanduser())
