"""Listing does not depend on the number of images more than it must."""

import time
import tracemalloc
from pathlib import Path

from resight.datasets.readers import Market1501
from resight.datasets.readers.luperson import LuPerson

GALLERY = 19_732


def test_the_gallery_of_market_is_listed_within_two_seconds(tmp_path: Path):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bounding_box_train" / "0002_c1s1_000451_03.jpg").touch()
    for number in range(GALLERY):
        name = f"{number // 26:04d}_c{number % 6 + 1}s1_{number:06d}_00.jpg"
        (tmp_path / "bounding_box_test" / name).touch()
    spent: list[float] = []
    for _ in range(2):
        start = time.process_time()  # of this process alone: the suite shares its cores
        assert len(Market1501().scan(tmp_path).sources) == GALLERY + 1
        spent.append(time.process_time() - start)
    assert min(spent) < 2


def test_millions_without_labels_would_fit(tmp_path: Path):
    """Ten times the images must not take ten times the memory of records: names and sizes only, tens of bytes each."""
    for video in range(20):
        folder = tmp_path / "country" / "city" / f"{video:05d}"
        folder.mkdir(parents=True)
        for number in range(200):
            (folder / f"{number:08d}.jpg").touch()
    LuPerson().scan(tmp_path)
    tracemalloc.start()
    scan = LuPerson().scan(tmp_path)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(scan.sources) == 4000
    assert held / 4000 < 100
