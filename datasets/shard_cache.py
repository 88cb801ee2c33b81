"""Shards of any storage on this machine's disk: named after their content, up to a limit, for any number of processes.

What may happen, and what then. A process is killed: the system drops its locks, and whoever comes next removes its
half-fetched files. A file is changed or truncated: the next read of it notices, and it is fetched again. A file is
deleted: it is fetched again. The limit holds at every moment, because room is reserved under the cache's lock before
the first byte is written. Nobody waits for ever: a file that has to go loses its name first, so that nobody opens it
again, and each process's keeper lets go of such files within a tenth of a second; who is stuck behind a process that
does not (a stopped one) is told so after `wait_s`.
A shard is verified by its sha256 when it is fetched, and again when another process opens it for the first time.
Source: ours. Trade-off: while one process makes room, others that need room wait; readers of shards that are there
wait for nobody.
"""

import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from resight.cluster.errors import UserError
from resight.datasets.cache_folder import retire, shard_file
from resight.datasets.cache_keeper import Keeper
from resight.datasets.cache_lock import Patience, locked
from resight.datasets.fetching import Wanted, fill, is_fetched, make_room, reserve
from resight.datasets.open_shard import OpenShard, open_if_there

__all__ = ["ShardCache", "Wanted"]

_GIB: Final = 1 << 30
_TRIES: Final = 2  # a damaged shard is fetched again once


class ShardCache:
    """A folder of shards on a local disk; threads and processes of one user may share it.

    Args:
        folder: made when it is not there. Other files in it are left alone.
        limit_bytes: of all shards in the folder, those being fetched included.
        wait_s: how long to wait for room, or for another process, while nothing happens at all.

    Attributes:
        folder, limit_bytes: as given.
        opened: the shards that this process has open, by sha256; they may be closed at any time.

    Raises:
        UserError: when the folder cannot be made or written to.
    """

    def __init__(self, folder: str | Path, *, limit_bytes: int, wait_s: float = 60.0) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.limit_bytes = limit_bytes
        self._wait_s = wait_s
        self.opened: dict[str, OpenShard] = {}
        self._verified: set[tuple[str, int]] = set()
        self._opening: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._keeper = Keeper(self.opened)
        weakref.finalize(self, self._keeper.stop)
        with self._explained():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._tidy()

    def __repr__(self) -> str:
        """Place and limit."""
        return f"ShardCache({str(self.folder)!r}, {_gib(self.limit_bytes)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as its settings: the receiver opens files for itself."""
        return (_again, (self.folder, self.limit_bytes, self._wait_s))

    def read(self, wanted: Wanted, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the shard's end; the shard is fetched when it is not there.

        Raises:
            UserError: for a shard that is missing, larger than the limit, not what its checksum says, or damaged again
                and again; when there is no room for it for too long; when the disk is full.
        """
        for _ in range(_TRIES):
            if (data := self._opened(wanted).read(offset, size)) is not None:
                return data
        raise self._damaged(wanted)

    def prepare(self, wanted: Wanted) -> None:
        """Have a shard there and open, ready to be read; errors as in `read`."""
        if wanted.sha256 not in self.opened:
            self._opened(wanted)

    def close(self) -> None:
        """Let go of all shards; reading opens them again."""
        self._keeper.stop()

    def _opened(self, wanted: Wanted) -> OpenShard:
        """Return the shard, open and undamaged: from this process, from the folder, or fetched."""
        with self._guard:
            lock = self._opening.setdefault(wanted.sha256, threading.Lock())
        with lock, self._explained():
            held = self.opened.get(wanted.sha256)
            if held is None or not held.intact():
                self.opened.pop(wanted.sha256, None)
                del held  # a file that is open here cannot be removed
                held = self._found(wanted)
                self.opened[wanted.sha256] = held
                self._keeper.start()
            return held

    def _found(self, wanted: Wanted) -> OpenShard:
        """Open or fetch a shard and verify it."""
        if wanted.size > self.limit_bytes:
            raise self._too_large(wanted)
        patience = Patience(self.folder, self._wait_s, lambda: self._no_room(wanted))
        path = shard_file(self.folder, wanted.sha256)
        damaged = 0
        while damaged < _TRIES:
            held = open_if_there(path, wanted.size)
            if held is not None:
                if self._is_right(wanted, held):
                    return held
                inode, held, damaged = held.inode, None, damaged + 1  # closed: a file that is open cannot be removed
                self._discard(path, inode, patience)
            elif (handle := self._reserved(wanted, patience)) is None:  # another process is fetching it
                patience.wait()
            elif (held := fill(self.folder, wanted, handle, patience.wait)) is not None:
                self._verified.add((wanted.sha256, held.inode))
                return held
            else:
                damaged += 1
        raise self._damaged(wanted)

    def _reserved(self, wanted: Wanted, patience: Patience) -> int | None:
        """Make room for a shard and return its empty file; None when it is there already, or being fetched."""
        with locked(self.folder / "lock", patience.wait):
            if is_fetched(self.folder, wanted):
                return None
            make_room(
                self.folder,
                limit=self.limit_bytes,
                need=wanted.size,
                let_go=self._keeper.let_go,
                wait=patience.wait,
            )
            return reserve(self.folder, wanted)

    def _is_right(self, wanted: Wanted, held: OpenShard) -> bool:
        """Tell whether an open file is the shard; its bytes are read when this process meets the file first."""
        met = (wanted.sha256, held.inode)
        if met in self._verified:
            return held.intact()
        if not held.whole(wanted.sha256):
            return False
        self._verified.add(met)
        return True

    def _discard(self, path: Path, inode: int, patience: Patience) -> None:
        """Take a damaged file's name away, unless somebody has done that already.

        It must not be open here while this waits: whoever has the lock may be waiting for the file to go.
        """
        with locked(self.folder / "lock", patience.wait), suppress(FileNotFoundError):
            if path.stat().st_ino == inode:
                retire(self.folder, path.name)

    def _tidy(self) -> None:
        """Remove what dead processes left, and what is over a limit that was lowered; somebody else may be at it."""

        def leave() -> None:
            raise _BusyError

        try:
            with locked(self.folder / "lock", leave):
                make_room(self.folder, limit=self.limit_bytes, need=0, let_go=self._keeper.let_go, wait=leave)
        except _BusyError:
            return  # whoever is at work, or makes room next, does it

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Turn what the file system says into a UserError that names the folder."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"the shard cache cannot be used: {error.strerror}",
                where=str(self.folder),
                cure="free space on that disk, lower data.cache_gib, or give another folder as data.cache_dir",
            ) from error

    def _too_large(self, wanted: Wanted) -> UserError:
        return UserError(
            f"the shard has {_gib(wanted.size)}, more than the whole cache may hold ({_gib(self.limit_bytes)})",
            where=wanted.where,
            cure=f"raise data.cache_gib well above {wanted.size / _GIB:.3g}, or make the data set with smaller shards",
        )

    def _no_room(self, wanted: Wanted) -> UserError:
        return UserError(
            f"for {self._wait_s:g} s there was no room in the cache ({_gib(self.limit_bytes)}) for a shard of "
            f"{_gib(wanted.size)}: other processes use all of it, or hang while they fetch",
            where=f"{wanted.where}, cache {self.folder}",
            cure="raise data.cache_gib, or end the processes that use the cache and do nothing",
        )

    def _damaged(self, wanted: Wanted) -> UserError:
        return UserError(
            "the cached shard was damaged again after it had been fetched again",
            where=f"{wanted.where}, cache {self.folder}",
            cure="check that disk and who else writes to the folder, or give another one as data.cache_dir",
        )


class _BusyError(Exception):
    """Somebody else has the cache's lock, or uses what has to go."""


def _gib(size: int) -> str:
    return f"{size:,} bytes" if size < _GIB // 100 else f"{size / _GIB:.2f} GiB"


def _again(folder: Path, limit_bytes: int, wait_s: float) -> ShardCache:
    return ShardCache(folder, limit_bytes=limit_bytes, wait_s=wait_s)
