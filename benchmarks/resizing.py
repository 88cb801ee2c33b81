"""Does it matter for mAP whether OpenCV or PIL resizes? The demo's network and unseen people, resized by both.

    make demo && python benchmarks/resizing.py [--demo demo] [--json]

Every test image is first brought to 96x48 (PIL, box filter), the same for all; then OpenCV and PIL each bring it back
to the network's 128x64, linear and cubic. OpenCV's and PIL's kernels differ (cubic: a = -0.5 in PIL, -0.75 in OpenCV),
so pixels differ; the question is whether rankings do.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from resight.datasets.dataset import Dataset, open_dataset
from resight.trainers.embedder import Embedder
from resight.trainers.load import load_embedder
from resight.trainers.retrieval.judge import open_sides
from resight.trainers.retrieval.metrics import evaluate

WIDTH, HEIGHT = 64, 128
SMALL = (48, 96)

Resize = Callable[[np.ndarray], np.ndarray]


def pil(kind: Image.Resampling) -> Resize:
    return lambda image: np.asarray(Image.fromarray(image).resize((WIDTH, HEIGHT), kind))


def opencv(kind: int) -> Resize:
    return lambda image: cv2.resize(image, (WIDTH, HEIGHT), interpolation=kind)


WAYS: dict[str, Resize] = {
    "PIL bilinear": pil(Image.Resampling.BILINEAR),
    "OpenCV linear": opencv(cv2.INTER_LINEAR),
    "PIL bicubic": pil(Image.Resampling.BICUBIC),
    "OpenCV cubic": opencv(cv2.INTER_CUBIC),
}


def judged(embedder: Embedder, dataset: Dataset, resize: Resize) -> float:
    sides = open_sides(dataset)

    def embedded(rows: np.ndarray) -> np.ndarray:
        small = [np.asarray(Image.fromarray(i).resize(SMALL, Image.Resampling.BOX)) for i in dataset.images(rows)]
        return embedder.embed([resize(image) for image in small])

    query, gallery = sides.query_labels, sides.gallery_labels
    features = embedded(sides.query), embedded(sides.gallery)
    return float(evaluate(*features, query.pid, gallery.pid, query.camid, gallery.camid).mAP)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    embedder = load_embedder(options.demo / "run")
    found = {
        split: {name: judged(embedder, open_dataset(options.demo / "data" / split), way) for name, way in WAYS.items()}
        for split in ("base", "clothes")
    }
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for split, by_way in found.items():
        print(f"{split}: mAP in %")
        for name, value in by_way.items():
            print(f"  {name:14s} {100 * value:6.2f}")
        linear = by_way["OpenCV linear"] - by_way["PIL bilinear"]
        cubic = by_way["OpenCV cubic"] - by_way["PIL bicubic"]
        print(f"  OpenCV - PIL: linear {100 * linear:+.2f}, cubic {100 * cubic:+.2f} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
