"""The shard cache, one process or two at a time: right bytes or a clear error, whatever happens to its files."""

import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from resight.cluster.errors import UserError
from resight.datasets.cache_folder import entries_of, shard_file
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.node_cache import node_cache_folder
from resight.datasets.shard_cache import ShardCache
from tests.datasets.cached_reading import FarStorage, far_data
from tests.datasets.making import crops, write_dataset

READER = Path(__file__).with_name("cached_reading.py")
PER_SHARD = 10


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six shards of ten images."""
    return write_dataset(crops("train", ids=12, per_id=5), tmp_path_factory.mktemp("made"), per_shard=PER_SHARD)


def shard_size(data: Dataset) -> int:
    return max(int(facts["size"]) for facts in data.card.shards.values())


def row_in(shard: int) -> int:
    return shard * PER_SHARD + 3


def cached_file(data: Dataset, cache: ShardCache, shard: int) -> Path:
    return shard_file(cache.folder, data.card.shards[f"train-{shard:06d}"]["sha256"])


def names(cache: ShardCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()}


def cached_shards(data: Dataset, cache: ShardCache) -> set[int]:
    return {number for number in range(6) if cached_file(data, cache, number).exists()}


def right(data: Dataset, rows: Sequence[int]) -> bool:
    plain = open_dataset(Path(data.path) if "://" not in data.path else PLAIN[data.path])
    return all(data.image_bytes(row) == plain.image_bytes(row) for row in rows)


PLAIN: dict[str, Path] = {}


def far(made: Dataset, folder: Path, *, shards: float = 10, wait_s: float = 20, pause_s: float = 0) -> Any:
    """(data set through a cache with room for so many shards, its cache, its storage)."""
    storage = FarStorage(Path(made.path), pause_s=pause_s)
    PLAIN[storage.url] = Path(made.path)
    cache = ShardCache(folder / "cache", limit_bytes=int(shards * shard_size(made)), wait_s=wait_s)
    return far_data(storage, cache), cache, storage


@contextmanager
def reader(made: Dataset, folder: Path, **settings: Any) -> Generator[subprocess.Popen[str]]:
    """Another process that reads through the same cache; it is killed at the end."""
    given = {"data": made.path, "cache": str(folder / "cache"), "seed": 0, "seconds": 60, **settings}
    words = [sys.executable, str(READER), json.dumps(given)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(held: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def test_every_row_is_read_once_fetched(made: Dataset, tmp_path: Path) -> None:
    data, cache, storage = far(made, tmp_path)
    assert right(data, range(60))
    assert right(data, range(60))
    assert set(storage.fetched.values()) == {1}
    assert data.metadata(33) == made.metadata(33)
    assert (data.image(8) == made.image(8)).all()
    assert names(cache) == {"lock", *(f"{facts['sha256']}.tar" for facts in made.card.shards.values())}


def test_local_data_sets_use_a_cache_when_asked(made: Dataset, tmp_path: Path) -> None:
    cache = ShardCache(tmp_path / "cache", limit_bytes=1 << 30)
    data = open_dataset(made.path, cache=cache)
    assert right(data, range(0, 60, 7))
    assert cached_shards(data, cache) == set(range(6))
    copy = pickle.loads(pickle.dumps(data))
    assert right(copy, [5])
    assert copy.shards.cache.folder == cache.folder


def test_a_data_set_elsewhere_goes_through_the_machines_own_cache(
    made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = far_data(FarStorage(Path(made.path)), None)
    assert right(data, [0, 59])
    assert cached_shards(data, ShardCache(node_cache_folder(), limit_bytes=1 << 30)) == {0, 5}


def test_equal_names_of_different_content_do_not_meet(made: Dataset, tmp_path: Path) -> None:
    other = write_dataset(crops("train", ids=4, per_id=5, first=70), tmp_path / "other", per_shard=PER_SHARD)
    cache = ShardCache(tmp_path / "cache", limit_bytes=1 << 30)
    both = [open_dataset(data.path, cache=cache) for data in (made, other)]
    assert both[0].image_bytes(3) == made.image_bytes(3)
    assert both[1].image_bytes(3) == other.image_bytes(3)
    assert made.image_bytes(3) != other.image_bytes(3)


def test_the_least_recently_used_goes(made: Dataset, tmp_path: Path) -> None:
    data, cache, storage = far(made, tmp_path, shards=3.5)
    for shard in (0, 1, 2):
        assert right(data, [row_in(shard)])
        time.sleep(0.02)
    cache.close()
    assert right(data, [row_in(0)])  # opened again, so used again
    assert right(data, [row_in(3)])
    assert cached_shards(data, cache) == {0, 2, 3}
    assert sum(storage.fetched.values()) == 4


def test_reading_counts_as_use(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path, shards=2.5)
    for shard in (0, 1):
        assert right(data, [row_in(shard)])
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        data.image_bytes(row_in(0))
    assert right(data, [row_in(2)])
    assert cached_shards(data, cache) == {0, 2}


def test_a_lowered_limit_holds_from_the_start(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path)
    assert right(data, range(60))
    cache.close()
    _, lower, _ = far(made, tmp_path, shards=2.2)
    assert sum(entry.size for entry in entries_of(lower.folder)) <= lower.limit_bytes
    assert len(cached_shards(data, lower)) == 2


def test_a_shard_over_the_limit_is_refused(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path, shards=0.5)
    with pytest.raises(UserError, match="more than the whole cache may hold") as caught:
        data.image_bytes(0)
    assert "train-000000" in caught.value.where
    assert "data.cache_gib" in caught.value.cure
    assert names(cache) == {"lock"}


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2000)
        file.write(b"\xff" * 500)


def cut(path: Path) -> None:
    os.truncate(path, 700)


def cut_and_fill(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, 700)
    os.truncate(path, size)


@pytest.mark.parametrize("harm", [flip, cut, cut_and_fill, Path.unlink])
@pytest.mark.parametrize("is_open", [True, False])
def test_what_is_harmed_underneath_is_fetched_again(made: Dataset, tmp_path: Path, harm: Any, is_open: bool) -> None:
    data, cache, storage = far(made, tmp_path)
    assert right(data, range(60))
    if not is_open:
        cache.close()
    harm(cached_file(data, cache, 1))
    if harm is Path.unlink and is_open:
        until(lambda: data.card.shards["train-000001"]["sha256"] not in cache.opened)
    assert right(data, range(60))
    assert storage.fetched["shards/train-000001.tar"] == 2
    assert sum(storage.fetched.values()) == 7
    fresh, _, _ = far(made, tmp_path)
    assert right(fresh, range(60))


def test_a_harmed_file_is_found_by_a_process_that_meets_it_first(made: Dataset, tmp_path: Path) -> None:
    """Even when its time of change says otherwise."""
    data, cache, _ = far(made, tmp_path)
    assert right(data, range(60))
    path = cached_file(data, cache, 2)
    facts = path.stat()
    flip(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    fresh, _, storage = far(made, tmp_path)
    assert right(fresh, range(60))
    assert dict(storage.fetched) == {"shards/train-000002.tar": 1}


def test_a_harmed_file_is_not_held_while_its_removal_waits(made: Dataset, tmp_path: Path) -> None:
    """Whoever makes room has the lock and waits until nobody holds what has to go; both would wait for ever."""
    data, cache, _ = far(made, tmp_path)
    assert right(data, [row_in(0)])
    path = cached_file(data, cache, 0)
    cache.close()
    flip(path)
    again, _, _ = far(made, tmp_path)
    with (cache.folder / "lock").open("rb+") as lock, path.open("rb") as file, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reading = pool.submit(right, again, [row_in(0)])
        time.sleep(0.5)
        assert not reading.done()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.close()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert reading.result(timeout=20)


def test_a_deleted_file_s_space_is_given_back(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path)
    data.image_bytes(0)
    cached_file(data, cache, 0).unlink()

    def open_files() -> list[str]:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return [os.readlink(link) for link in links if link.is_symlink()]

    until(lambda: not [name for name in open_files() if str(cache.folder) in name])


def test_a_file_harmed_again_and_again_is_an_error(made: Dataset, tmp_path: Path) -> None:
    data, cache, storage = far(made, tmp_path, pause_s=0.005)
    stop = threading.Event()

    def harm() -> None:
        while not stop.is_set():
            for path in cache.folder.glob(".tmp-*"):
                with suppress(FileNotFoundError):
                    flip(path)

    thread = threading.Thread(target=harm)
    thread.start()
    try:
        with pytest.raises(UserError, match="damaged again"):
            data.image_bytes(0)
    finally:
        stop.set()
        thread.join()
    assert names(cache) == {"lock"}
    assert right(data, [0])
    assert storage.fetched["shards/train-000000.tar"] >= 3


@pytest.mark.parametrize("change", [flip, cut, lambda path: path.write_bytes(path.read_bytes() + bytes(512))])
def test_a_source_that_is_not_what_its_card_says(tmp_path: Path, change: Any) -> None:
    made = write_dataset(crops("train", ids=4, per_id=5), tmp_path / "d", per_shard=PER_SHARD)
    change(tmp_path / "d" / "shards" / "train-000001.tar")
    data, cache, _ = far(made, tmp_path)
    with pytest.raises(UserError, match="sha256") as caught:
        data.image_bytes(row_in(1))
    assert made.card.shards["train-000001"]["sha256"] in caught.value.problem
    assert "shards/train-000001.tar" in caught.value.where
    assert right(data, [0])
    assert not [name for name in names(cache) if name.startswith(".")]


def test_a_missing_source_is_explained(tmp_path: Path) -> None:
    made = write_dataset(crops("train", ids=2, per_id=5), tmp_path / "d")
    (tmp_path / "d" / "shards" / "train-000000.tar").unlink()
    data, cache, _ = far(made, tmp_path)
    with pytest.raises(UserError, match="not there"):
        data.image_bytes(0)
    assert names(cache) == {"lock"}


FULL = """
import resource, sys
from pathlib import Path
from resight.cluster.errors import UserError
from resight.datasets.dataset import open_dataset
from resight.datasets.node_cache import node_cache_folder
from resight.datasets.shard_cache import ShardCache
cache = ShardCache(sys.argv[2], limit_bytes=1 << 30)
data = open_dataset(sys.argv[1], cache=cache)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    data.image_bytes(0)
except UserError as error:
    sys.stdout.write(str(error))
"""


def test_a_full_disk_is_explained(made: Dataset, tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL, made.path, str(tmp_path / "cache")]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "the shard cache cannot be used" in told
    assert "lower data.cache_gib" in told
    assert os.listdir(tmp_path / "cache") == ["lock"]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="shard cache cannot be used"):
        ShardCache(tmp_path / "file" / "cache", limit_bytes=1)


def test_leftovers_are_swept_and_strangers_left_alone(made: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    sha256 = "ab" * 32
    for name in (f".tmp-{sha256}-77", f".old-{sha256}-{'0' * 32}", "notes.txt", ".old-photos"):
        (folder / name).write_bytes(bytes(100))
    _, cache, _ = far(made, tmp_path)
    assert names(cache) == {"lock", "notes.txt", ".old-photos"}


def test_threads_fetch_a_shard_once(made: Dataset, tmp_path: Path) -> None:
    data, _, storage = far(made, tmp_path, pause_s=0.002)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda row: bytes(data.image_bytes(row)), [*range(60), *range(60)]))
    assert read == [bytes(made.image_bytes(row % 60)) for row in range(120)]
    assert set(storage.fetched.values()) == {1}


def test_threads_read_through_a_cache_of_one_shard(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path, shards=1.2)
    rows = [row * 17 % 60 for row in range(120)]
    with ThreadPoolExecutor(6) as pool:
        read = list(pool.map(lambda row: bytes(data.image_bytes(row)), rows))
    assert read == [bytes(made.image_bytes(row)) for row in rows]
    assert sum(entry.size for entry in entries_of(cache.folder)) <= cache.limit_bytes


def test_a_fetcher_that_is_killed_holds_up_nobody(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path, shards=1.2)
    with reader(made, tmp_path, limit=cache.limit_bytes, pause_s=0.5):
        until(lambda: any(name.startswith(".tmp-") for name in names(cache)))
    assert any(name.startswith(".tmp-") for name in names(cache))
    start = time.monotonic()
    assert right(data, range(60))
    assert time.monotonic() - start < 10
    assert not [name for name in names(cache) if name.startswith(".")]


def test_a_stopped_process_is_waited_for_but_not_for_ever(made: Dataset, tmp_path: Path) -> None:
    data, cache, _ = far(made, tmp_path, shards=1.2, wait_s=1)
    with reader(made, tmp_path, limit=cache.limit_bytes, seconds=60) as other:
        until(lambda: cached_shards(data, cache))
        os.kill(other.pid, signal.SIGSTOP)
        time.sleep(0.1)
        held = cached_shards(data, cache)
        rows = [row_in(shard) for shard in range(6) if shard not in held]
        with pytest.raises(UserError, match="no room in the cache") as caught:
            [data.image_bytes(row) for row in rows]
        assert "data.cache_gib" in caught.value.cure
        assert sum(entry.size for entry in entries_of(cache.folder)) <= cache.limit_bytes
    assert right(data, rows)


def test_a_slow_fetch_of_another_process_is_waited_for(made: Dataset, tmp_path: Path) -> None:
    """It takes longer than `wait_s`, but something happens all the time."""
    data, cache, storage = far(made, tmp_path, wait_s=0.6)
    slow = {"piece": shard_size(made) // 40, "pause_s": 0.05}
    with reader(made, tmp_path, limit=cache.limit_bytes, seconds=0.1, **slow) as other:
        until(lambda: any(name.startswith(".tmp-") for name in names(cache)))
        (partial,) = (name for name in names(cache) if name.startswith(".tmp-"))
        shards = [facts["sha256"] for facts in made.card.shards.values()]
        assert right(data, [row_in(shards.index(partial.split("-")[1]))])
        assert sum(storage.fetched.values()) == 0
        assert other.wait(30) == 0
