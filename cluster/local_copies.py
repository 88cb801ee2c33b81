"""Copies of a storage's objects on this machine's disk, for readers that need a file: mapped arrays, Parquet.

They lie in a scratch folder that goes away with its process, whatever ends it. Source: ours. Trade-off: they are not
shared between processes; shards, which are large and read by many, go through the shard cache instead.
"""

import hashlib
import threading
import uuid
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Final

from resight.cluster.refusal import writing
from resight.cluster.scratch import scratch_folder

__all__ = ["LocalCopies"]

_LIMIT_BYTES: Final = 16 << 30


class LocalCopies:
    """Copies by key and version; what was asked for longest ago goes when there are too many bytes.

    Args:
        limit_bytes: of all copies; the newest stays, however large.
    """

    def __init__(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._held: dict[Path, int] = {}
        self._guard = threading.Lock()
        self._stack = ExitStack()
        self._folder: Path | None = None
        weakref.finalize(self, self._stack.close)

    def path(self, key: str, version: str, fetch: Callable[[Path], None]) -> Path:
        """Return the copy of an object, which `fetch` writes when it is not there.

        Args:
            key: of the object; its last part ends the file's name.
            version: changes when the object does.
            fetch: writes the object to a path.

        Raises:
            UserError: for a full disk, and what `fetch` raises.
        """
        name = hashlib.sha256(f"{key}\0{version}".encode()).hexdigest()[:32]
        with self._guard:
            if self._folder is None:
                self._folder = self._stack.enter_context(scratch_folder())
            path = self._folder / f"{name}-{PurePosixPath(key).name}"
        if not path.is_file():
            self._make(path, fetch, key)
        with self._guard:
            self._held.pop(path, None)
            self._held[path] = path.stat().st_size  # at the end: asked for last
            self._forget()
        return path

    def _make(self, path: Path, fetch: Callable[[Path], None], key: str) -> None:
        part = path.with_name(f".tmp-{uuid.uuid4().hex}")
        with writing(f"a copy of {key!r} (TMPDIR)", path.parent.parent):
            try:
                fetch(part)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)  # half a copy would keep a full disk full

    def _forget(self) -> None:
        while len(self._held) > 1 and sum(self._held.values()) > self._limit:
            path = next(iter(self._held))
            del self._held[path]
            path.unlink(missing_ok=True)
