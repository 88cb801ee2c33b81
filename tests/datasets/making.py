"""Small real data sets for tests: random crops, written through the same shards, pool and card as any other."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import simplejpeg
from PIL import Image

from resight.cluster.pool import InProcess, Made, Unit, run_pool
from resight.cluster.storage import open_storage
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.publish import publish_dataset
from resight.datasets.records import Annotations, Record, Sample, Split
from resight.datasets.shards import shard_files


def pixels(seed: int, *, height: int = 128, width: int = 64) -> np.ndarray:
    """A smooth random picture, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).astype(np.float32)
    fine = np.repeat(np.repeat(coarse, 16, 0), 16, 1)[:height, :width]
    return np.clip(fine + rng.normal(0, 6, fine.shape), 0, 255).astype(np.uint8)


def jpeg(seed: int, *, height: int = 128, width: int = 64, quality: int = 90) -> bytes:
    """The same picture as JPEG."""
    return simplejpeg.encode_jpeg(pixels(seed, height=height, width=width), quality=quality, fastdct=False)


def encoded(array: np.ndarray, kind: str, **options: Any) -> bytes:
    """An array as a file of Pillow's making: "PNG", "JPEG"."""
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def crops(split: str, *, ids: int, per_id: int, first: int = 1, **annotations: Any) -> list[Sample]:
    """`ids` people with `per_id` crops each, cameras 0, 1, 2 in turn, two outfits each."""
    return [
        Sample(
            record=Record(
                key=f"{split}-{pid:04d}-{i:02d}",
                pid=pid,
                camid=i % 3,
                outfit=2 * pid + i // 3 % 2,
                frame=i,
                dataset="made",
                split=cast("Split", split),
            ),
            image=jpeg(1000 * pid + i),
            annotations=Annotations(**annotations),
        )
        for pid in range(first, first + ids)
        for i in range(per_id)
    ]


@dataclass(frozen=True)
class WriteSamples:
    """A pool's work that writes samples it was handed."""

    shards: Mapping[str, list[Sample]]
    fingerprint: str = "test-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        files, table, read_back = shard_files(self.shards[unit.name], scratch, shard=unit.name)
        return Made(files=files, facts={"samples": table.num_rows}, read_back=read_back)


def write_dataset(
    samples: Iterable[Sample], folder: Path | str, *, per_shard: int = 1000, name: str = "made"
) -> Dataset:
    """Publish samples as a data set, shards by split, and open it."""
    by_split: dict[str, list[Sample]] = {}
    for sample in samples:
        by_split.setdefault(sample.record.split, []).append(sample)
    shards = {
        f"{split}-{n:06d}": members[at : at + per_shard]
        for split, members in by_split.items()
        for n, at in enumerate(range(0, len(members), per_shard))
    }
    units = [Unit(name=shard, spec={"keys": [s.record.key for s in members]}) for shard, members in shards.items()]
    storage = open_storage(folder)
    result = run_pool(WriteSamples(shards), units, storage, backend=InProcess(workers=1))
    publish_dataset(storage, result, name=name, licence="CC0", made_by={"command": "test"})
    return open_dataset(folder)
