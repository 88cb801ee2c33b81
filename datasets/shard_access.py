"""Where a data set's shards are read from: in place, or through a cache.

In place: mapped into memory on first use and never copied, so worker processes share the same pages; for data sets on
this machine or on a file system that is mounted. Through a cache: for storages that are not, and for those who ask.
Source: ours. Trade-off of mapping: a mapped shard that somebody truncates while it is open ends the process (SIGBUS);
sizes are therefore compared with the card before mapping, and published files are never changed in place.
"""

import mmap
import threading
from pathlib import Path
from typing import Any, Protocol

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.datasets.card import DatasetCard
from resight.datasets.shard_cache import ShardCache, Wanted
from resight.datasets.shards import shard_key

__all__ = ["Cached", "InPlace", "ShardAccess"]

_CURE = "copy the data set again, or make it again"


class ShardAccess(Protocol):
    """The bytes of a data set's shards, by offset. Threads may share it."""

    def read(self, shard: str, offset: int, size: int) -> memoryview:
        """Return `size` bytes of a shard from `offset`, fewer only at its end; UserError when it cannot be read."""
        ...


class InPlace:
    """Shards where the storage has them, mapped on first use.

    Args:
        storage: of the data set.
        card: with the shards' sizes.
    """

    def __init__(self, storage: Storage, card: DatasetCard) -> None:
        self._storage = storage
        self._card = card
        self._views: dict[str, memoryview] = {}
        self._lock = threading.Lock()

    def read(self, shard: str, offset: int, size: int) -> memoryview:
        """Return a view into the mapped shard; UserError for a missing or truncated one."""
        view = self._views.get(shard)  # one dict look-up is atomic; the lock is for the first reader only
        if view is None:
            with self._lock:
                view = self._views.get(shard) or self._map(shard)
                self._views[shard] = view
        return view[offset : offset + size]

    def path(self, shard: str) -> Path:
        """Return the shard's local path, after comparing its size with the card's."""
        key = shard_key(shard)
        if not self._storage.exists(key):
            raise UserError(f"shard {shard!r} is missing", where=f"{self._storage.url}/{key}", cure=_CURE)
        path = self._storage.local(key)
        size, wanted = path.stat().st_size, int(self._card.shards[shard]["size"])
        if size != wanted:
            what = f"truncated: it ends at byte {size:,}" if size < wanted else f"too long: {size:,} bytes"
            raise UserError(f"shard {shard!r} is {what}, it should have {wanted:,}", where=str(path), cure=_CURE)
        return path

    def _map(self, shard: str) -> memoryview:
        with self.path(shard).open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class Cached:
    """Shards through a cache, which fetches, verifies and removes them.

    Args:
        storage: of the data set.
        card: with the shards' sizes and checksums.
        cache: may serve other data sets too.

    Attributes:
        cache: as given.
    """

    def __init__(self, storage: Storage, card: DatasetCard, cache: ShardCache) -> None:
        self.cache = cache
        self._wanted = {name: _wanted(storage, name, facts) for name, facts in card.shards.items()}
        self._sha256 = {name: wanted.sha256 for name, wanted in self._wanted.items()}
        self._opened = cache.opened

    def read(self, shard: str, offset: int, size: int) -> memoryview:
        """Return a copy of the bytes; errors as in `ShardCache.read`."""
        held = self._opened.get(self._sha256[shard])  # the short way, for all but the first reads
        if held is None or (data := held.read(offset, size)) is None:
            del held  # a file that is open here cannot be removed
            data = self.cache.read(self._wanted[shard], offset, size)
        return memoryview(data)

    def prepare(self, shard: str) -> None:
        """Fetch a shard that will be read soon."""
        self.cache.prepare(self._wanted[shard])

    def size(self, shard: str) -> int:
        """Return the shard's length in bytes."""
        return self._wanted[shard].size


def _wanted(storage: Storage, name: str, facts: Any) -> Wanted:
    return Wanted(storage=storage, key=shard_key(name), sha256=facts["sha256"], size=int(facts["size"]))
