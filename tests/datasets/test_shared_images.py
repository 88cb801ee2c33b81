"""Decoded images shared by processes: the same batches, each image decoded once, half an image never seen."""

import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset
from resight.datasets.image_cache import ImageCache
from resight.datasets.loader import Loader
from resight.datasets.shared_images import SharedImages
from resight.datasets.sources import Source, open_sources
from tests.datasets.making import crops, write_dataset
from tests.datasets.sharing import AUGMENT, SAMPLER, checksum, counted, opened

OTHER = Path(__file__).with_name("sharing.py")
IMAGE_BYTES = 48 * 24 * 3


@pytest.fixture
def people(tmp_path: Path) -> Dataset:
    """Content of its own for each test, so memory of its own too."""
    first = 1 + zlib.crc32(bytes(tmp_path)) % 5000
    return write_dataset(crops("train", ids=10, per_id=5, first=first), tmp_path / "d", name="people")


@pytest.fixture
def source(people: Dataset) -> Source:
    (source,) = open_sources([people.path], val_ids=0.2)
    return source


@contextmanager
def other(people: Dataset, *epochs: int, gib: float = 1.0) -> Generator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Another process that has gone through some epochs and waits; killed at the end."""
    words = [sys.executable, str(OTHER), json.dumps({"data": people.path, "epochs": epochs, "gib": gib})]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("gib", [1.0, 20 * (IMAGE_BYTES + 8) / 2**30, 0.0])
def test_batches_are_the_same_with_and_without(people: Dataset, gib: float) -> None:
    plain = [checksum(opened(people.path, share=False), epoch) for epoch in (0, 1, 0)]
    loader = opened(people.path, gib=gib)
    assert [checksum(loader, epoch) for epoch in (0, 1, 0)] == plain
    loader.close()
    assert checksum(loader, 1) == plain[1]


def test_a_second_process_decodes_nothing_again(people: Dataset) -> None:
    loader = opened(people.path)
    sums = [checksum(loader, epoch) for epoch in range(3)]
    with other(people, 0, 1, 2) as (_, told):
        assert told == {"sums": sums, "decoded": 0}


def test_workers_come_and_go_and_are_killed(people: Dataset) -> None:
    before = set(os.listdir("/dev/shm"))
    with other(people, 0) as (maker, told):
        assert told["decoded"] > 0
        with counted() as rows, opened(people.path) as loader:
            os.kill(maker.pid, signal.SIGKILL)
            maker.wait()
            assert [checksum(loader, 0)] == told["sums"]
            assert not rows
    with counted() as rows, opened(people.path) as loader:
        assert [checksum(loader, 0)] == told["sums"]
        assert rows  # the last user was gone, and the memory with it
    assert set(os.listdir("/dev/shm")) <= before


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 24, 3), np.uint8)


def test_an_image_is_seen_whole_or_not_at_all(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = (SharedImages([source], AUGMENT, 1 << 20) for _ in range(2))
    part, slots = writer._parts[0], writer._slot_of  # pyright: ignore[reportPrivateUsage]
    part._images[slots[3], :20] = image(0)[:20]  # pyright: ignore[reportPrivateUsage] - killed half way
    assert reader.get(3) is None
    writer.keep(3, image(0))
    found = reader.get(3)
    assert found is not None
    assert np.array_equal(found, image(0))
    writer.keep(4, image(1))
    part._images[slots[4], 5, 5, 0] ^= 1  # pyright: ignore[reportPrivateUsage] - its word came first, its pixels not yet
    assert reader.get(4) is None
    reader.keep(4, image(1))
    again = writer.get(4)
    assert again is not None
    assert np.array_equal(again, image(1))
    writer.clear()
    reader.clear()


def test_images_are_views_nobody_can_write_to(source: Source) -> None:
    cache = SharedImages([source], AUGMENT, 1 << 20)
    cache.keep(0, image(0))
    found = cache.get(0)
    assert found is not None
    assert found.base is not None
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0
    cache.clear()
    assert np.array_equal(found, image(0))
    assert cache.get(0) is None
    assert not cache.has_room(0, IMAGE_BYTES)
    cache.keep(0, image(0))
    assert cache.get(0) is None


def test_the_limit_holds_over_all_sources(source: Source, tmp_path: Path) -> None:
    more = write_dataset(crops("train", ids=4, per_id=5, first=9000), tmp_path / "more")
    sources = [source, open_sources([more.path], val_ids=0)[0]]
    rows = sum(len(one.rows) for one in sources)
    trainable = len(source.rows) + len(source.validation)
    cache = SharedImages(sources, AUGMENT, (trainable + 7) * (IMAGE_BYTES + 8) + 50)
    room = [cache.has_room(row, IMAGE_BYTES) for row in range(rows)]
    assert room == [True] * (len(source.rows) + 7) + [False] * (rows - len(source.rows) - 7)
    for row in range(rows):
        cache.keep(row, image(row))
    for row in range(rows):
        found = cache.get(row)
        assert found is None if not room[row] else np.array_equal(np.asarray(found), image(row))
    cache.clear()


def test_too_little_memory_is_told_before_anything_starts(
    people: Dataset, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resight.datasets.shared_images.available_memory", lambda: 1000)
    with pytest.raises(UserError, match="shared memory") as caught:
        opened(people.path)
    assert caught.value.where == "data.decoded_gib"
    assert "lower data.decoded_gib" in caught.value.cure
    assert isinstance(opened(people.path, share=False)._cache, ImageCache)  # pyright: ignore[reportPrivateUsage]
    with Loader([source], sampler=SAMPLER, augment=AUGMENT, seed=0, threads=1, cache_bytes=0, share=True) as loader:
        assert next(iter(loader.batches(0, 0, rank=0, world=1))).total == 12
