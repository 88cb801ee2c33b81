"""Feature files with vectors of a test's own choice, as `resight embed` would have written them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from resight.trainers.gallery.change import add_features
from resight.trainers.gallery.features import FeatureCard, write_features
from resight.trainers.gallery.provenance import Model

MODEL = Model(checkpoint="/runs/one/checkpoints/0001-0000002", sha256="a" * 64, fingerprint="b" * 64, dim=8)


def vectors(count: int, *, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def features_file(
    path: Path,
    feature: np.ndarray,
    *,
    dataset: str = "made",
    keys: Sequence[str] | None = None,
    pids: Sequence[int] | None = None,
    camids: Sequence[int] | None = None,
    roles: Sequence[str] | None = None,
    model: Model = MODEL,
    group: int = 1000,
) -> Path:
    """Write a file; keys are k0000 ..., identities 0, 0, 1, 1, ..., cameras 0, 1, 2 in turn, where none are given."""
    count = len(feature)
    columns = {
        "key": pa.array([f"k{row:04d}" for row in range(count)] if keys is None else list(keys), pa.string()),
        "split": pa.array(["gallery"] * count).dictionary_encode(),
        "role": pa.array(["person"] * count if roles is None else list(roles), pa.string()).dictionary_encode(),
        "pid": pa.array([row // 2 for row in range(count)] if pids is None else list(pids), pa.int64()),
        "camid": pa.array([row % 3 for row in range(count)] if camids is None else list(camids), pa.int64()),
        "feature": pa.FixedSizeListArray.from_arrays(pa.array(feature.reshape(-1)), feature.shape[1]),
    }
    table = pa.table(columns)
    card = FeatureCard(
        model=model, dataset=dataset, data=f"/data/{dataset}", data_sha256="c" * 64, splits=("gallery",), rows=count
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_features(path, [table.slice(first, group) for first in range(0, max(count, 1), group)], card)
    return path


def two_data_sets(folder: Path) -> Path:
    """An index of twenty images of the data set a, twelve of b; identities 0 to 9 and 0 to 5, two images each."""
    a = features_file(folder / "a.parquet", vectors(20), dataset="a", group=7)
    b = features_file(folder / "b.parquet", vectors(12, seed=1), dataset="b")
    assert add_features([a], folder / "index").rows == 20
    assert add_features([b], folder / "index").rows == 32
    return folder / "index"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
