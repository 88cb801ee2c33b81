"""Streaming images from tars: ours against stock `webdataset`, sequential.

    python benchmarks/streaming.py [--images 20000] [--shards 10] [--bytes 4096] [--repeats 7] [--json]

The same plain tars (`{key}.jpg` and `{key}.json`), in the page cache, one process on one core. Compared are
  bytes      each sample's image as bytes; ours in the shuffled order of a stream (window 4), webdataset as it lies
  pixels     the same, decoded by the same decoder
  scan       what ours does once, before the first epoch: read every byte, checksum, index
Reference: `WebDataset(tars, shardshuffle=False)`; it neither shuffles nor can it be resumed. Ratios of processor time.
"""

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from webdataset.compat import WebDataset

from resight.datasets.decode import decode
from resight.datasets.opening import open_streams
from resight.datasets.sources import Source
from resight.datasets.stream_plan import StreamPlan
from resight.datasets.streaming import by_shard

WINDOW = 4


def make_tars(folder: Path, images: int, shards: int, size: int) -> list[Path]:
    """Write tars of JPEGs padded to `size` bytes, as other people would."""
    rng = np.random.default_rng(0)
    tars = [folder / f"part-{n:04d}.tar" for n in range(shards)]
    pictures = [simplejpeg.encode_jpeg(rng.integers(0, 256, (64, 32, 3), np.uint8), quality=80) for _ in range(64)]
    for number, path in enumerate(tars):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for n in range(number, images, shards):
                picture = pictures[n % len(pictures)]
                for suffix, data in (("jpg", picture + bytes(max(0, size - len(picture)))), ("json", b"{}")):
                    info = tarfile.TarInfo(f"{n:08d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return tars


def ours(source: Source, epoch: int) -> Iterator[bytes]:
    plan = StreamPlan(by_shard([source]), batch_size=64, window=WINDOW, seed=0)
    for batch in plan.batches(epoch, 0):
        for row in batch.tolist():
            yield bytes(source.dataset.image_bytes(int(source.rows[row])))


def stock(tars: list[Path]) -> Iterator[bytes]:
    for sample in WebDataset([str(tar) for tar in tars], shardshuffle=False):
        yield sample["jpg"]


def consume(items: Iterator[bytes], use: Callable[[bytes], object]) -> int:
    count = 0
    for item in items:
        use(item)
        count += 1
    return count


def measure(folder: Path, tars: list[Path], repeats: int) -> dict[str, Any]:
    start = time.process_time()
    (source,) = open_streams([str(folder)])
    scan = len(source.rows) / (time.process_time() - start)
    rates: dict[str, list[float]] = {}
    for epoch in range(repeats):
        for what, use in (("bytes", len), ("pixels", decode)):
            for name, items in (("ours", ours(source, epoch)), ("webdataset", stock(tars))):
                start = time.process_time()
                count = consume(items, use)
                rates.setdefault(f"{name}, {what}", []).append(count / (time.process_time() - start))
    ratios = {
        f"ours / webdataset, {what}": spread(
            [a / b for a, b in zip(rates[f"ours, {what}"], rates[f"webdataset, {what}"], strict=True)]
        )
        for what in ("bytes", "pixels")
    }
    return {
        "ratios": ratios,
        "samples per second": {name: spread(values) for name, values in rates.items()},
        "scan": scan,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore", ResourceWarning)
    with tempfile.TemporaryDirectory() as folder:
        tars = make_tars(Path(folder), options.images, options.shards, options.bytes)
        result = measure(Path(folder), tars, options.repeats)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result["ratios"].items():
        print(f"{name:28} {value['median']:8.2f}  ({value['min']:.2f} to {value['max']:.2f})")
    for name, value in result["samples per second"].items():
        print(f"{name:28} {value['median']:8.0f} samples/s  ({value['min']:.0f} to {value['max']:.0f})")
    print(f"{'scan, once':28} {result['scan']:8.0f} samples/s")


if __name__ == "__main__":
    main()
