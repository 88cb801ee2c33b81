"""A process that trains through shared decoded images, for tests: `python sharing.py '{"data": ..., ...}'`.

Prints a checksum of all images of an epoch and how many pictures it decoded, then waits to be told to end.
"""

import hashlib
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from resight.datasets.augment import AugmentConfig
from resight.datasets.dataset import Dataset
from resight.datasets.loader import Loader, open_training_data
from resight.datasets.sampler import SamplerConfig

SAMPLER = SamplerConfig(ids_per_batch=4, images_per_id=3, steps_per_epoch=6)
AUGMENT = AugmentConfig(height=48, width=24, pad=4)


def opened(path: str, *, gib: float = 1.0, share: bool = True, threads: int = 2, seed: int = 1) -> Loader:
    return open_training_data(
        [path], sampler=SAMPLER, augment=AUGMENT, val_ids=0.2, seed=seed, threads=threads, cache_gib=gib, share=share
    )


def checksum(loader: Loader, epoch: int) -> str:
    digest = hashlib.sha256()
    for batch in loader.batches(epoch, 0, rank=0, world=1):
        digest.update(batch.images.numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def counted() -> Generator[list[int]]:
    """Note every row that is decoded meanwhile."""
    rows: list[int] = []
    plain = Dataset.image

    def image(self: Dataset, row: int) -> np.ndarray:
        rows.append(row)
        return plain(self, row)

    Dataset.image = image
    try:
        yield rows
    finally:
        Dataset.image = plain


def main(settings: dict[str, Any]) -> None:
    loader = opened(settings["data"], gib=settings["gib"])
    with counted() as rows:
        sums = [checksum(loader, epoch) for epoch in settings["epochs"]]
    sys.stdout.write(json.dumps({"sums": sums, "decoded": len(rows)}) + "\n")
    sys.stdout.flush()
    sys.stdin.read(1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
