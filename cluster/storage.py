"""Where published things live: one small Protocol, with local folders and S3 behind it.

Three laws, whatever the back end: a key appears complete or not at all; publishing the same bytes twice is harmless;
nothing is ever appended to or changed in place.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from resight.cluster.errors import UserError
from resight.cluster.local_storage import LocalStorage

__all__ = ["LocalStorage", "Storage", "absolute", "is_url", "open_storage"]


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

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the object's end; UserError when it cannot be read."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        ...

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Return the length in bytes of every object whose key starts with `prefix`, by sorted key: one listing."""
        ...

    def age_s(self, key: str) -> float:
        """Return how long ago the object was published, in seconds by the storage's own clock; UserError without it."""
        ...

    def publish(self, data: bytes, key: str, *, exclusive: bool = False) -> bool:
        """Publish `data` under `key`, atomically.

        Args:
            data: the whole object.
            key: where.
            exclusive: leave an object that is already there alone.

        Returns:
            Whether these bytes were published; False only when `exclusive` and the key was taken.

        Raises:
            UserError: when it cannot be written.
        """
        ...

    def publish_file(self, path: Path, key: str) -> None:
        """Publish a finished local file under `key`, atomically; `path` itself is left alone; errors as `publish`."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; harmless when it is not there."""
        ...

    def local(self, key: str) -> Path:
        """Return a path on this machine that holds the complete object, fetched when need be: open it soon.

        A fetched copy goes away with this storage, or sooner, when many others were fetched since.
        """
        ...

    def sweep_temporaries(self, older_than_s: float) -> int:
        """Remove what interrupted publishing left behind, when untouched for so many seconds; return how many."""
        ...


def is_url(place: str | Path) -> bool:
    """Tell whether a place is a URL, which must not be made a path of: `s3://bucket` is not `s3:/bucket`."""
    return "://" in str(place)


def absolute(place: str | Path) -> str:
    """Return a place as every process finds it, whatever its working directory: a URL, or a path from the root."""
    return str(place) if is_url(place) else os.path.abspath(os.path.expanduser(place))


def open_storage(url: str | Path) -> Storage:
    """Open the storage behind a path or URL.

    Args:
        url: a local path, one on a file system that all nodes share, or `s3://bucket/prefix`.

    Raises:
        UserError: for a URL scheme that has no back end, or no bucket.
    """
    text = str(url)
    if text.startswith("s3://"):
        from resight.cluster.s3_storage import S3Storage  # boto3 takes most of a second to import

        return S3Storage(text)
    if is_url(text):
        scheme = text.partition("://")[0]
        raise UserError(f"no storage back end for {scheme}://", cure="give a plain path, or s3://bucket/prefix")
    return LocalStorage(Path(text).expanduser())
