"""A large file flushed to disk while it is still being written, so that its end does not wait for all of it.

The system keeps what is written in memory until it is told to flush, and a disk then takes as long for a shard as
decoding a twentieth of it does. Told every few megabytes, by a thread that only waits, the disk works alongside.
What is written goes out in blocks, each with its checksum, and is read back and compared by the same blocks.
Source: fdatasync(2). A failure to flush is told to one caller only, so the thread's is kept and raised at the end.
Trade-off: a thread for each file that is being written; a damaged byte is told by its block, not to the byte.
"""

import hashlib
import os
import zlib
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

__all__ = ["Block", "WriteBehind", "read_back", "writing_behind"]

_BLOCK: Final = 1 << 18  # bytes of a block, at least; few enough to be in the processor's cache when it is read
_STEP: Final = 8 << 20  # bytes between two flushes


class Block(NamedTuple):
    """A piece of a file as it must be read back.

    Attributes:
        size: bytes.
        crc32: of them.
    """

    size: int
    crc32: int


class WriteBehind:
    """An open file; use `writing_behind`.

    Attributes:
        blocks: what was written, all of it once the file is finished.
    """

    def __init__(self, file: BinaryIO, thread: ThreadPoolExecutor) -> None:
        self.blocks: list[Block] = []
        self._file = file
        self._thread = thread
        self._held: list[bytes] = []
        self._size = 0
        self._waiting = 0
        self._flush: Future[None] | None = None

    def write(self, pieces: Sequence[bytes], size: int) -> None:
        """Write pieces that are `size` bytes together; OSError also when an earlier flush failed."""
        self._held += pieces
        self._size += size
        if self._size >= _BLOCK:
            self._write_out()

    def _write_out(self) -> None:
        data = b"".join(self._held)
        self._held, self._size = [], 0
        self.blocks.append(Block(len(data), zlib.crc32(data)))
        self._file.write(data)
        self._waiting += len(data)
        if self._waiting >= _STEP and (self._flush is None or self._flush.done()):
            self._settle()
            self._waiting = 0
            self._flush = self._thread.submit(os.fdatasync, self._file.fileno())

    def finish(self) -> None:
        """Flush all of it; OSError when that, or an earlier flush, failed."""
        self._write_out()
        self._settle()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _settle(self) -> None:
        if self._flush is not None:
            self._flush.result()


@contextmanager
def writing_behind(path: Path) -> Generator[WriteBehind]:
    """Open a new file; it is flushed to disk when the block ends without an error, OSError when it cannot be."""
    with path.open("wb") as file, ThreadPoolExecutor(1, thread_name_prefix="flush") as thread:
        behind = WriteBehind(file, thread)
        yield behind
        behind.finish()


def read_back(path: Path, blocks: Sequence[Block]) -> tuple[str, int]:
    """Read a file and compare; return sha256 and size of what was read, so that nobody has to read it again.

    Raises:
        OSError: when it is not what was written.
    """
    digest, at = hashlib.sha256(), 0
    room = memoryview(bytearray(max(block.size for block in blocks)))
    with path.open("rb") as file:
        for block in blocks:
            read = room[: file.readinto(room[: block.size])]
            if Block(len(read), zlib.crc32(read)) != block:
                raise OSError(f"{path}: bytes {at:,} to {at + block.size:,} are not what was written")
            digest.update(read)
            at += block.size
        if file.read(1):
            raise OSError(f"{path}: there is more than what was written")
    return digest.hexdigest(), at
