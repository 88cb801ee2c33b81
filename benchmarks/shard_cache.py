"""Reading image bytes from cached shards, against stock WebDataset; shared decoded images, against decoding.

    python benchmarks/shard_cache.py [--images 6000] [--repeats 7] [--json]

The same shards of 128x64 crops of about 3 KB, with a JSON of labels each. The process stays on one core; each repeat
times, one after the other:
  webdataset   every sample of `webdataset.WebDataset`, in order, nothing decoded      the reference
  cached       `Dataset.image_bytes` in random order, through a cache of shards        claimed: 15 times webdataset
  in place     the same from the data set's own folder, memory-mapped (a view, nothing is copied)
  decoding     256x128 images from those bytes: decoded and resized                    the reference
  shared       the same images from the memory that the processes of a machine share   claimed: 10 times decoding
Ratios of CPU time: other processes on the machine spoil them less than those of elapsed time.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from input_pipeline import AUGMENT, make_source, spread
from webdataset.compat import WebDataset

from resight.datasets.augment.resize import resize
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.shard_cache import ShardCache
from resight.datasets.shared_images import SharedImages
from resight.datasets.sources import Source

PAIRS = (("cached", "webdataset"), ("in place", "webdataset"), ("shared", "decoding"))


def stream(source: Source) -> int:
    shards = sorted(str(path) for path in Path(source.dataset.path).glob("shards/*.tar"))
    return sum(len(sample["jpg"]) > 0 for sample in WebDataset(shards, shardshuffle=False))


def read(dataset: Dataset, rows: list[int]) -> int:
    return sum(len(dataset.image_bytes(row)) > 0 for row in rows)


def decode(source: Source, rows: list[int]) -> int:
    return sum(resize(source.dataset.image(int(source.rows[row])), AUGMENT)[0, 0, 0] >= 0 for row in rows)


def look(shared: SharedImages, rows: list[int]) -> int:
    """Sum a few pixels of each, so that the memory is really looked at."""
    count = 0
    for row in rows:
        image = shared.get(row)
        assert image is not None
        count += int(image[::64].sum()) >= 0
    return count


def measure(folder: Path, images: int, repeats: int) -> dict[str, Any]:
    source = make_source(folder, images, quality=75)
    cached = open_dataset(source.dataset.path, cache=ShardCache(folder / "cache", limit_bytes=8 << 30))
    rows = np.random.default_rng(0).permutation(images).tolist()
    few = rows[: images // 4]
    shared = SharedImages([source], AUGMENT, 8 << 30)
    for row in few:
        shared.keep(row, resize(source.dataset.image(int(source.rows[row])), AUGMENT))
    ways: dict[str, Callable[[], int]] = {
        "webdataset": lambda: stream(source),
        "cached": lambda: read(cached, rows),
        "in place": lambda: read(source.dataset, rows),
        "decoding": lambda: decode(source, few),
        "shared": lambda: look(shared, few),
    }
    wanted = {name: way() for name, way in ways.items()}  # fetches, maps, and meets every image once
    assert set(wanted.values()) == {images, len(few)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            count = way()
            rates[name].append(count / (time.process_time() - start))
            assert count == wanted[name]
    shared.clear()
    ratios = {
        f"{one} / {other}": spread([a / b for a, b in zip(rates[one], rates[other], strict=True)])
        for one, other in PAIRS
    }
    return {
        "ratios": ratios,
        "images per second": {name: spread(values) for name, values in rates.items()},
        "bytes per image": statistics.mean(source.dataset.index.spans("image")[1].tolist()),
    }


def show(result: dict[str, Any]) -> None:
    for name, value in result["ratios"].items():
        print(f"{name:22} {value['median']:7.1f}  ({value['min']:.1f} to {value['max']:.1f})  CPU time")
    for name, value in result["images per second"].items():
        print(f"{name:22} {value['median']:9,.0f} images/s of one core  ({value['min']:,.0f} to {value['max']:,.0f})")
    print(f"{result['bytes per image']:.0f} bytes an image, {result['images']} images, {result['repeats']} repeats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.images, options.repeats)
    result = {**result, "images": options.images, "repeats": options.repeats}
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
