"""Listing and packing a data set of many small files, against a plain loop over the same files.

    python benchmarks/packing.py [--images 19733] [--repeats 5] [--json]

A tree with the gallery of Market-1501 (19,732 images and one to train on; 128x64 crops, about 5 kB) is listed by its
reader, and, in turns:
  loop      read each file, hash it (sha256), decode it to RGB: the reference, on one core
  pack 1    `resight pack --workers 1` on one core: every image checked to its last byte and hashed; tars and index
            written, flushed to disk, read back, compared, hashed and published
  pack 2    the same with two workers, the default, on two cores, which must be idle to show anything
Each repeat packs into a new folder. Elapsed time is what a user waits for; processor time shows the work itself, and
other processes spoil it less.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from input_pipeline import make_crop

from resight.cluster.pool import InProcess
from resight.datasets.pack import pack
from resight.datasets.readers import Market1501

GALLERY = 19_732
FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def make_tree(root: Path, count: int, content: Callable[[int], bytes]) -> Path:
    """A tree of Market-1501 with `count` images, all but one in the gallery."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    (root / FOLDERS[0] / "0002_c1s1_000451_03.jpg").write_bytes(content(0))
    for number in range(1, count):
        name = f"{number // 26:04d}_c{number % 6 + 1}s1_{number:06d}_00.jpg"
        (root / FOLDERS[2] / name).write_bytes(content(number))
    return root


def make_crops(variety: int = 200) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [simplejpeg.encode_jpeg(make_crop(rng), quality=90, colorsubsampling="420") for _ in range(variety)]


def loop(root: Path) -> int:
    """Read, hash and decode every image of the tree."""
    count = 0
    for folder in FOLDERS:
        for path in sorted((root / folder).iterdir()):
            data = path.read_bytes()
            hashlib.sha256(data).hexdigest()
            simplejpeg.decode_jpeg(data, "RGB")
            count += 1
    return count


def measure(folder: Path, images: int, repeats: int) -> dict[str, Any]:
    listed = make_tree(folder / "listed", GALLERY + 1, lambda _: b"x")
    seconds: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        assert len(Market1501().scan(listed).sources) == GALLERY + 1
        seconds.append(time.perf_counter() - start)
    crops = make_crops()
    tree = make_tree(folder / "tree", images, lambda number: crops[number % len(crops)])
    cores = sorted(os.sched_getaffinity(0))[-2:]

    def packed(number: int, workers: int) -> None:
        out = folder / f"packed-{number}-{workers}"
        pack("market1501", tree, out, backend=InProcess(workers=workers))
        shutil.rmtree(out)

    ways: dict[str, tuple[int, Callable[[int], object]]] = {
        "loop": (1, lambda _: loop(tree)),
        "pack 1": (1, lambda number: packed(number, 1)),
        "pack 2": (2, lambda number: packed(number, 2)),
    }
    packed(repeats, 2)  # warm: file cache, imports
    rates: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in ways} for clock in ("cpu", "elapsed")}
    for number in range(repeats):
        for name, (count, way) in ways.items():
            os.sched_setaffinity(0, cores[-count:])
            busy, start = time.process_time(), time.perf_counter()
            way(number)
            rates["elapsed"][name].append(images / (time.perf_counter() - start))
            rates["cpu"][name].append(images / (time.process_time() - busy))
    return {
        "seconds to list": spread(seconds),
        "ratios": {
            clock: {name: spread([a / b for a, b in zip(found[name], found["loop"], strict=True)]) for name in ways}
            for clock, found in rates.items()
        },
        "images per second": {clock: {k: spread(v) for k, v in found.items()} for clock, found in rates.items()},
        "bytes per image": round(statistics.mean(map(len, crops))),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(result: dict[str, Any]) -> None:
    for clock in ("elapsed", "cpu"):
        for name in ("pack 2", "pack 1"):
            value = result["ratios"][clock][name]
            print(f"{name} / loop  {value['median']:6.2f}  ({value['min']:.2f} to {value['max']:.2f})  {clock} time")
    for name, value in result["images per second"]["elapsed"].items():
        print(f"{name:12} {value['median']:6.0f} images/s  ({value['min']:.0f} to {value['max']:.0f})")
    value = result["seconds to list"]
    print(f"listing {GALLERY:,} files: {value['median']:.2f} s  ({value['min']:.2f} to {value['max']:.2f})")
    print(f"{result['bytes per image']} bytes an image, {result['images']} images, {result['repeats']} repeats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=GALLERY + 1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.images, options.repeats)
    result = {**result, "images": options.images, "repeats": options.repeats}
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
