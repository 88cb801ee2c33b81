"""Published things in a folder: the back end of `storage.py` for disks, and for file systems that all nodes share.

Publishing writes a temporary file in the same folder, flushes it to disk, renames it and flushes the folder, so that a
power cut cannot leave a name without its bytes. Temporary names start with `.tmp-`, are never listed, and are safe to
delete when old.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing
from resight.cluster.storage_keys import TEMPORARY, checked

__all__ = ["LocalStorage"]

_COPY_BYTES = 1 << 20
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
"""What a file system says that cannot link the two places."""


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
        with self._reading(key), self.local(key).open("rb") as file:
            while piece := file.read(_COPY_BYTES):
                yield piece

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the object's end."""
        with self._reading(key), self.local(key).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        return sorted(key for key, _ in self._below(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Return the length in bytes of every object whose key starts with `prefix`, by sorted key."""
        return {key: path.stat().st_size for key, path in sorted(self._below(prefix))}

    def age_s(self, key: str) -> float:
        """Return how long ago the object was published, by the file system's clock."""
        probe = self._path(key).with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        with writing("a file that asks the time", self.root):
            probe.touch()
            try:
                return probe.stat().st_mtime - self.local(key).stat().st_mtime
            finally:
                probe.unlink()

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
        old = [path for path in self.root.rglob(f"{TEMPORARY}*") if _modified(path) < before]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, key: str) -> Path:
        return self.root / checked(key, self.url)

    def _below(self, prefix: str) -> Iterator[tuple[str, Path]]:
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self.root
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(TEMPORARY))
        keys = ((path.relative_to(self.root).as_posix(), path) for path in files)
        return ((key, path) for key, path in keys if key.startswith(prefix))

    @contextmanager
    def _reading(self, key: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"could not read {key!r}: {error.strerror}", where=self.url, cure="check the disk"
            ) from error

    def _publish(self, key: str, make: Callable[[Path], None], place: Callable[[Path, Path], bool]) -> bool:
        target = self._path(key)
        temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
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
