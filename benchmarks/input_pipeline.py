"""From JPEG in shards to normalised float32 batches, against PIL with torchvision's transforms.

    python benchmarks/input_pipeline.py [--images 512] [--repeats 7] [--json]

Both do the same to the same 128x64 crops: decode, resize to 256x128 (bicubic), flip, pad 10, crop, normalise, erase at
random, stack 64 images. The crops are made here: 1/f noise, a person-like figure, quality 95. The process stays on one
core; each repeat times, one after the other:
  pil             PIL from the JPEG bytes + torchvision + torchvision's RandomErasing     the reference
  pil_decoded     the same from PIL images that are decoded already
  jpeg            the loader with one thread and no cache                                 claimed: 4 times pil
  decoded         the loader with one thread and all decoded images in its cache          claimed: 8 times pil
Ratios of CPU time come first: other processes on the machine spoil them less than those of elapsed time.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from resight.datasets.augment import AugmentConfig
from resight.datasets.loader import Loader
from resight.datasets.pack import pack
from resight.datasets.sampler import SamplerConfig
from resight.datasets.sources import Source, open_sources

CAMERAS = 4
PER_ID = 8
AUGMENT = AugmentConfig(interpolation="cubic")


def make_crop(rng: np.random.Generator, *, height: int = 128, width: int = 64) -> np.ndarray:
    """A crop as compressible as a real one: 1/f noise behind a figure of three coloured, textured parts."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    amplitude = 1 / np.maximum(frequency, 1 / height)
    phases = rng.uniform(0, 2 * np.pi, (3, *amplitude.shape))
    noise = np.fft.irfft2(amplitude * np.exp(1j * phases), s=(height, width))
    image = 110 + 45 * noise / noise.std(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    for low, high, half in ((0.08, 0.22, 0.12), (0.22, 0.55, 0.27), (0.55, 0.97, 0.2)):
        part = (y > low) & (y < high) & (np.abs(x - 0.5) < half)
        image[:, part] = 0.3 * image[:, part] + rng.uniform(20, 200, (3, 1))
    return np.ascontiguousarray(np.clip(image.transpose(1, 2, 0), 0, 255), np.uint8)


def make_source(folder: Path, count: int, *, quality: int = 95) -> Source:
    """Write `count` crops, pack them into shards, open them."""
    rng = np.random.default_rng(0)
    crops = folder / "crops" / "train"
    crops.mkdir(parents=True)
    for number in range(count):
        name = f"{number // PER_ID:04d}_c{number % CAMERAS + 1}_{number:06d}.jpg"
        (crops / name).write_bytes(simplejpeg.encode_jpeg(make_crop(rng), quality=quality, colorsubsampling="420"))
    pack("folder", crops.parent, folder / "packed")
    (source,) = open_sources([str(folder / "packed")], val_ids=0)
    return source


def make_loader(source: Source, *, cache_bytes: int) -> Loader:
    sampler = SamplerConfig(ids_per_batch=16, images_per_id=4, steps_per_epoch=len(source.rows) // 64)
    return Loader([source], sampler=sampler, augment=AUGMENT, seed=0, threads=1, cache_bytes=cache_bytes)


def make_reference() -> Callable[[Image.Image], Tensor]:
    """The usual training transform, in torchvision's names."""
    return transforms.Compose(
        [
            transforms.Resize((AUGMENT.height, AUGMENT.width), transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(AUGMENT.flip),
            transforms.Pad(AUGMENT.pad),
            transforms.RandomCrop((AUGMENT.height, AUGMENT.width)),
            transforms.ToTensor(),
            transforms.Normalize(AUGMENT.mean, AUGMENT.std),
            transforms.RandomErasing(AUGMENT.erase, scale=AUGMENT.erase_area, ratio=(0.3, 1 / 0.3), value=0),
        ]
    )


def reference_batches(loader: Loader, source: Source, decoded: dict[int, Image.Image] | None) -> Iterator[Tensor]:
    """The loader's batches, made the usual way."""
    transform = make_reference()
    for rows in source.rows[loader.plan.epoch(0)]:
        images = [decoded[row] if decoded else open_pil(source, row) for row in rows.tolist()]
        yield torch.stack([transform(image) for image in images])


def open_pil(source: Source, row: int) -> Image.Image:
    return Image.open(io.BytesIO(source.dataset.image_bytes(row))).convert("RGB")


def consume(batches: Iterator[Tensor]) -> int:
    """Take all batches, return the number of images; a look at one value keeps everybody honest."""
    count = 0
    for batch in batches:
        assert batch.shape[1:] == (3, AUGMENT.height, AUGMENT.width)
        assert batch.dtype == torch.float32
        count += len(batch)
    return count


def measure(source: Source, repeats: int) -> dict[str, Any]:
    plain, cached = make_loader(source, cache_bytes=0), make_loader(source, cache_bytes=4 << 30)
    decoded = {row: open_pil(source, row) for row in source.rows.tolist()}
    ways: dict[str, Callable[[], Iterator[Tensor]]] = {
        "pil": lambda: reference_batches(plain, source, None),
        "pil_decoded": lambda: reference_batches(plain, source, decoded),
        "jpeg": lambda: (batch.images for batch in plain.batches(0, 0, rank=0, world=1)),
        "decoded": lambda: (batch.images for batch in cached.batches(0, 0, rank=0, world=1)),
    }
    for way in ways.values():
        consume(way())  # compiles, fills the cache
    fill(cached, source)
    rates: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in ways} for clock in ("cpu", "elapsed")}
    for _ in range(repeats):
        for name, way in ways.items():
            busy, start = time.process_time(), time.perf_counter()
            count = consume(way())
            rates["elapsed"][name].append(count / (time.perf_counter() - start))
            rates["cpu"][name].append(count / (time.process_time() - busy))
    return {
        "ratios": {clock: ratios(rates[clock]) for clock in rates},
        "images per second": {
            clock: {name: spread(values) for name, values in found.items()} for clock, found in rates.items()
        },
        "bytes per image": int(source.dataset.index.spans("image")[1].mean()),
    }


def fill(loader: Loader, source: Source) -> None:
    """Go on until every image was seen, so that the cache holds all of them."""
    seen: set[int] = set()
    epoch = 1
    while len(seen) < len(source.rows):
        seen |= {row for batch in loader.batches(epoch, 0, rank=0, world=1) for row in batch.rows.tolist()}
        epoch += 1


def ratios(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    pairs = (("jpeg", "pil"), ("decoded", "pil"), ("decoded", "pil_decoded"))
    return {
        f"{one} / {other}": spread([a / b for a, b in zip(rates[one], rates[other], strict=True)])
        for one, other in pairs
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(result: dict[str, Any]) -> None:
    for clock in ("cpu", "elapsed"):
        for name, value in result["ratios"][clock].items():
            print(f"{name:22} {value['median']:6.2f}  ({value['min']:.2f} to {value['max']:.2f})  {clock} time")
    for name, value in result["images per second"]["cpu"].items():
        print(f"{name:22} {value['median']:6.0f} images/s of one core  ({value['min']:.0f} to {value['max']:.0f})")
    print(f"{result['bytes per image']} bytes an image, {result['images']} images, {result['repeats']} repeats")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(make_source(Path(folder), options.images), options.repeats)
    result = {**result, "images": options.images, "repeats": options.repeats}
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
