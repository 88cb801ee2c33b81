"""Eight processes, a cache smaller than the data, and somebody who corrupts, truncates, deletes and kills meanwhile.

Every image read is right or an error that says what happened; the limit holds whenever one looks; all come to an end;
nothing is left behind.
"""

import fcntl
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from resight.datasets.cache_folder import entries_of
from resight.datasets.dataset import open_dataset
from resight.datasets.shard_cache import ShardCache
from tests.datasets.making import crops, write_dataset

READER = Path(__file__).with_name("cached_reading.py")
PROCESSES = 8
KNOWN = "the cached shard was damaged again after it had been fetched again"


class Watcher:
    """Looks at the folder all the time and remembers the most bytes it ever held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.most = self.looks = 0

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            size = self._look()
            if size is not None:
                self.looks += 1
                self.most = max(self.most, size)
            time.sleep(0.002)

    def _look(self) -> int | None:
        """Bytes in the folder; None when room was being made, or a name changed, while we looked."""
        with open(self._folder / "lock", "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            sizes: dict[int, int] = {}  # by inode: a file is renamed while one looks
            for path in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    facts = path.stat()
                    sizes[facts.st_ino] = facts.st_size
            return sum(sizes.values())


def flip(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(chance.randrange(max(1, size - 4000)))
        file.write(chance.randbytes(min(4000, size)))


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(1 + path.stat().st_size))


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


HARMS: tuple[Callable[[Path, random.Random], None], ...] = (flip, cut, delete)


def start(settings: dict[str, Any], seed: int) -> subprocess.Popen[str]:
    words = [sys.executable, str(READER), json.dumps({**settings, "seed": seed})]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def storm(folder: Path, *, seconds: float, shards: int, room: float, kills: int) -> Counter[str]:
    """Let it rage; return what all readers that lived to the end counted."""
    made = write_dataset(crops("train", ids=shards * 4, per_id=5), folder / "data", per_shard=20)
    limit = int(room * max(int(facts["size"]) for facts in made.card.shards.values()))
    cache = ShardCache(folder / "cache", limit_bytes=limit)
    settings = {"data": made.path, "cache": str(cache.folder), "limit": limit, "seconds": seconds}
    settings |= {"least": 20, "pause_s": 0.001}  # reads of each: a slow machine rages longer
    chance = random.Random(5)
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        readers = [stack.enter_context(start(settings, seed)) for seed in range(PROCESSES)]
        stack.callback(lambda: [reader.kill() for reader in readers])
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        watcher = stack.enter_context(Watcher(cache.folder))
        killed = 0
        begun = time.monotonic()
        end = begun + seconds
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.01, 0.08))
            files = [path for path in cache.folder.iterdir() if path.name != "lock"]
            if files:
                with suppress(FileNotFoundError):
                    chance.choice(HARMS)(chance.choice(files), chance)
            if time.monotonic() > begun + (killed + 0.5) * seconds / kills:
                victim = readers.pop(chance.randrange(len(readers)))
                victim.kill()
                victim.communicate()
                readers.append(
                    stack.enter_context(start({**settings, "seconds": end - time.monotonic()}, 100 + killed))
                )
                killed += 1
        for reader in readers:
            told, complaint = reader.communicate(timeout=60)
            assert reader.returncode == 0, complaint
            counts.update(json.loads(told.splitlines()[-1]))
    assert watcher.looks > 10
    assert watcher.most <= limit
    assert killed == kills
    left_whole(made.path, cache)
    return counts


def left_whole(path: str, cache: ShardCache) -> None:
    """Whoever comes next sweeps the rubbish and reads everything right."""
    fresh = ShardCache(cache.folder, limit_bytes=cache.limit_bytes)
    assert all(entry.kind == "whole" for entry in entries_of(fresh.folder))
    data = open_dataset(path, cache=fresh, verify=True)
    plain = open_dataset(path)
    assert all(data.image_bytes(row) == plain.image_bytes(row) for row in range(len(data)))
    assert sum(entry.size for entry in entries_of(fresh.folder)) <= fresh.limit_bytes
    assert {path.name for path in fresh.folder.iterdir() if path.suffix != ".tar"} == {"lock"}


def judged(counts: Counter[str]) -> None:
    assert counts["wrong"] == 0
    assert counts["reads"] > 100
    assert set(counts) <= {"reads", "wrong", "fetched", KNOWN}, counts
    assert counts[KNOWN] < 0.1 * counts["reads"]


def test_a_short_storm(tmp_path: Path) -> None:
    judged(storm(tmp_path, seconds=4, shards=8, room=3.5, kills=3))


@pytest.mark.slow
@pytest.mark.parametrize("room", [1.1, 3.5, 20])
def test_a_long_storm(tmp_path: Path, room: float) -> None:
    judged(storm(tmp_path, seconds=40, shards=24, room=room, kills=20))
