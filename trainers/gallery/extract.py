"""Embed a data set into one file of features, by a work pool: part by part, resumed where it stopped.

A part is a run of images in the order of their keys, a whole number of the network's chunks long, so the features are
those of `Embedder.embed_dataset` over all of them at once. Parts are published beside the file, in `FILE.parts/`, and
removed when the file is there: features of people lie in one place only.
Source: design of this project. Trade-off: what is embedded passes through the disk twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Int64

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, Made, PoolBackend, Unit, run_pool
from resight.cluster.progress import Progress, silent
from resight.cluster.scratch import scratch_folder
from resight.cluster.storage import Storage, absolute, open_storage
from resight.datasets.dataset import Dataset, open_dataset
from resight.trainers.embedder import Embedder
from resight.trainers.gallery.features import FeatureCard, make_table, read_card, write_features
from resight.trainers.gallery.provenance import Model, identify
from resight.trainers.load import Which, find_checkpoint, load_embedder
from resight.trainers.mirror import newest_or_best, run_here

__all__ = ["EmbedWork", "Embedded", "embed_data"]

PART_ROWS: Final = 2048
"""Images a part; a multiple of the network's chunk."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A finished file: where it is, and what it holds."""

    path: Path
    card: FeatureCard


class EmbedWork:
    """The pool's work: the features of one part.

    Args:
        checkpoint: the network's folder or URL; each copy of this work loads it at its first part.
        data: the data set, where every machine that works finds it.
        splits: whose images are embedded.
    """

    def __init__(self, checkpoint: str, data: str, splits: tuple[str, ...]) -> None:
        self._given = (checkpoint, data, splits)
        self._opened: tuple[Embedder, Dataset, np.ndarray] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the network."""
        return (EmbedWork, self._given)

    @property
    def fingerprint(self) -> str:
        """The version of what makes the numbers."""
        return f"embed-1/torch-{torch.__version__}"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        """Embed the rows `first` to `last` of the data set in the order of keys."""
        if self._opened is None:
            checkpoint, data, splits = self._given
            dataset = open_dataset(data)
            self._opened = load_embedder(checkpoint), dataset, ordered_rows(dataset, splits)
        embedder, dataset, ordered = self._opened
        rows = ordered[unit.spec["first"] : unit.spec["last"]]
        path = scratch / "part.parquet"
        write_features(path, [make_table(dataset.index, rows, embedder.embed_dataset(dataset, rows))])
        return Made(files={f"{unit.name}.parquet": path}, facts={"rows": len(rows)})


def embed_data(
    run: str | Path,
    data: str | Path,
    out: Path,
    *,
    splits: Sequence[str] = (),
    which: Which = "newest",
    backend: PoolBackend | None = None,
    progress: Progress = silent,
) -> Embedded:
    """Embed a data set's images into a file. Starting it again resumes; when the file is there, nothing happens.

    Args:
        run: a run folder, or one of its checkpoints, or the URL of one.
        data: a packed or rendered data set.
        out: the Parquet file to write.
        splits: whose images; none: all.
        which: of a run's checkpoints: the newest, or the one that validation found best.
        backend: where the work runs; in this process by default.
        progress: told after every part.

    Raises:
        UserError: for a missing run or data set, a split without images, images that cannot be read, or a file that is
            there and holds something else.
    """
    dataset = open_dataset(absolute(data))
    splits = tuple(splits) or dataset.index.splits
    rows = ordered_rows(dataset, splits)
    model = _model(absolute(run), which)
    card = FeatureCard(
        model=model,
        dataset=dataset.name,
        data=dataset.path,
        data_sha256=dataset.card.sha256,
        splits=splits,
        rows=len(rows),
    )
    out = out.expanduser().absolute()
    if not _is_there(out, card):
        parts = open_storage(out.with_name(f"{out.name}.parts"))
        work = EmbedWork(model.checkpoint, dataset.path, splits)
        _make(work, _units(card), parts, backend or InProcess(), progress)
        _join(parts, card, out)
    _remove_parts(out.with_name(f"{out.name}.parts"))
    return Embedded(path=out, card=read_card(out))


def _model(run: str, which: Which) -> Model:
    """Return the network of a run's checkpoint, with the place where other machines find it."""
    with run_here(run, newest_or_best(which)) as here:
        checkpoint = find_checkpoint(here, which=which)
        model = identify(checkpoint, dim=load_embedder(checkpoint).dim)
        return replace(model, checkpoint=f"{run}{str(checkpoint).removeprefix(str(here))}")


def ordered_rows(dataset: Dataset, splits: tuple[str, ...]) -> Int64[np.ndarray, " n"]:
    """Return the rows of some splits in the order of their keys; UserError when one of them has no images."""
    index = dataset.index
    empty = [split for split in splits if not len(index.select(split=split))]
    if empty:
        cure = f"choose from: {', '.join(index.splits)}"
        raise UserError(f"{dataset.name} has no images in the split {empty[0]!r}", where=dataset.path, cure=cure)
    rows = index.select(split=splits)
    return rows[np.argsort(index.key[rows].astype(str), kind="stable")]


def _is_there(out: Path, card: FeatureCard) -> bool:
    """Tell whether the file is there; UserError when it holds something else."""
    if not out.exists():
        return False
    found = read_card(out)
    same = (found.model.same_as(card.model), found.data_sha256 == card.data_sha256, found.splits == card.splits)
    if all(same):
        return True
    names = zip(("model", "data", "splits"), same, strict=True)
    other = ", ".join(name for name, equal in names if not equal)
    cure = "choose another --out, or delete this file"
    raise UserError(f"features of other {other} are in this file already", where=str(out), cure=cure)


def _units(card: FeatureCard) -> list[Unit]:
    spec = {
        "model": {**asdict(card.model), "checkpoint": ""},
        "data_sha256": card.data_sha256,
        "splits": list(card.splits),
    }
    return [
        Unit(
            name=f"part-{first // PART_ROWS:06d}",
            spec={**spec, "first": first, "last": min(first + PART_ROWS, card.rows)},
        )
        for first in range(0, card.rows, PART_ROWS)
    ]


def _remove_parts(folder: Path) -> None:
    """Delete the parts and their records, and the folders they were in if nothing else is there."""
    for pattern in ("part-*.parquet", "_commits/part-*.json", "_conflicts/part-*.json"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for place in (folder / "_commits", folder / "_conflicts", folder):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def _make(work: EmbedWork, units: list[Unit], parts: Storage, backend: PoolBackend, progress: Progress) -> None:
    result = run_pool(work, units, parts, backend=backend, progress=progress, task="embed")
    if result.quarantined:
        first = result.quarantined[0]
        raise UserError(
            f"{len(result.quarantined)} parts could not be embedded, the first is {first.name}: {first.reason}",
            where=parts.url,
            cure="mend the cause and start the same command again; finished parts are kept",
        )


def _join(parts: Storage, card: FeatureCard, out: Path) -> None:
    """Publish the parts as one file."""

    def tables() -> Iterator[Any]:
        for unit in _units(card):
            with pq.ParquetFile(parts.local(f"{unit.name}.parquet"), page_checksum_verification=True) as part:
                yield part.read()

    with scratch_folder() as scratch:
        write_features(scratch / "features.parquet", tables(), card)
        open_storage(out.parent).publish_file(scratch / "features.parquet", out.name)
