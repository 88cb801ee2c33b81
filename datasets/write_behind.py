"""A large file flushed to disk while it is still being written, so that its end does not wait for all of it.

The system keeps what is written in memory until it is told to flush, and a disk then takes as long for a shard as
decoding a twentieth of it does. Told every few megabytes, by a thread that only waits, the disk works alongside.
Source: fdatasync(2). A failure to flush is told to one caller only, so the thread's is kept and raised at the end.
Trade-off: a thread for each file that is being written.
"""

import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["WriteBehind", "writing_behind"]

_BUFFER: Final = 1 << 20
_STEP: Final = 8 << 20  # bytes between two flushes


class WriteBehind:
    """An open file; use `writing_behind`."""

    def __init__(self, file: BinaryIO, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._thread = thread
        self._waiting = 0
        self._flush: Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Write; OSError also when an earlier flush failed."""
        self._file.write(data)
        self._waiting += len(data)
        if self._waiting >= _STEP and (self._flush is None or self._flush.done()):
            self._settle()
            self._waiting = 0
            self._flush = self._thread.submit(os.fdatasync, self._file.fileno())

    def finish(self) -> None:
        """Flush all of it; OSError when that, or an earlier flush, failed."""
        self._settle()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _settle(self) -> None:
        if self._flush is not None:
            self._flush.result()


@contextmanager
def writing_behind(path: Path) -> Generator[WriteBehind]:
    """Open a new file; it is flushed to disk when the block ends without an error, OSError when it cannot be."""
    with path.open("wb", buffering=_BUFFER) as file, ThreadPoolExecutor(1, thread_name_prefix="flush") as thread:
        behind = WriteBehind(file, thread)
        yield behind
        behind.finish()
