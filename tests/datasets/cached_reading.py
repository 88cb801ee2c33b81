"""A process that reads a data set through a cache, for tests: `python cached_reading.py '{"data": ..., ...}'`.

Reads rows at random until its time is over, compares every image with its checksum in the index, and prints counts.
"""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resight.cluster.errors import UserError
from resight.cluster.storage import LocalStorage
from resight.datasets.dataset import Dataset, open_stored
from resight.datasets.decode import MAX_PIXELS
from resight.datasets.shard_cache import ShardCache

RUN = 10
"""Rows read one after the other, from a random one on."""


class FarStorage:
    """A folder as if it were far away: it hands out small pieces slowly, counts how often, and can lie."""

    def __init__(self, folder: Path, *, pause_s: float = 0.0, piece: int = 1 << 14) -> None:
        self._local = LocalStorage(folder)
        self.pause_s = pause_s
        self.piece = piece
        self.fetched: Counter[str] = Counter()
        self.url = f"far://{folder.name}"

    def exists(self, key: str) -> bool:
        return self._local.exists(key)

    def size(self, key: str) -> int:
        return self._local.size(key)

    def read(self, key: str) -> bytes:
        return self._local.read(key)

    def chunks(self, key: str) -> Iterator[bytes]:
        self.fetched[key] += 1
        data = self._local.read(key)
        for at in range(0, len(data), self.piece):
            time.sleep(self.pause_s)
            yield data[at : at + self.piece]

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        return self._local.read_range(key, offset, size)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        return self._local.sizes(prefix)

    def age_s(self, key: str) -> float:
        return self._local.age_s(key)

    def list(self, prefix: str = "") -> list[str]:
        return self._local.list(prefix)

    def publish(self, data: bytes, key: str, *, exclusive: bool = False) -> bool:
        return self._local.publish(data, key, exclusive=exclusive)

    def publish_file(self, path: Path, key: str) -> None:
        self._local.publish_file(path, key)

    def delete(self, key: str) -> None:
        self._local.delete(key)

    def local(self, key: str) -> Path:
        return self._local.local(key)

    def sweep_temporaries(self, older_than_s: float) -> int:
        return self._local.sweep_temporaries(older_than_s)


def far_data(storage: FarStorage, cache: ShardCache | None) -> Dataset:
    return open_stored(storage, verify=False, max_pixels=MAX_PIXELS, cache=cache)


def main(settings: dict[str, Any]) -> int:
    slowness = {name: settings[name] for name in ("pause_s", "piece") if name in settings}
    storage = FarStorage(Path(settings["data"]), **slowness)
    cache = ShardCache(settings["cache"], limit_bytes=settings["limit"], wait_s=settings.get("wait_s", 30.0))
    data = far_data(storage, cache)
    rng = np.random.default_rng(settings["seed"])
    counts: Counter[str] = Counter()
    until = time.monotonic() + settings["seconds"]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while time.monotonic() < until or counts["reads"] < settings.get("least", 0):
        first = int(rng.integers(len(data)))
        for row in range(first, min(first + RUN, len(data))):
            try:
                right = hashlib.sha256(data.image_bytes(row)).hexdigest() == data.index.sha256[row]
            except UserError as error:
                counts[error.problem] += 1
                continue
            counts["reads" if right else "wrong"] += 1
    counts["fetched"] = sum(storage.fetched.values())
    sys.stdout.write(json.dumps(counts) + "\n")
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
