"""From "path:weight" texts to opened data sets with the rows that may be trained on.

Trainable is what stands in the train split as a person with a known identity, minus identities set aside for
validation. Junk, distractors and unlabelled crops never enter. Source: design of this project. Trade-off: identities
are set aside with a fixed seed and not the run's, so that runs with several seeds are judged on the same people.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int64

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.holdout import held_out
from resight.datasets.shard_cache import ShardCache

__all__ = ["Source", "open_sources", "parse_source"]

_WEIGHTED: Final = re.compile(r"(?P<path>.*):(?P<weight>-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_SPLIT_SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class Source:
    """One opened data set of a training run.

    Attributes:
        dataset: the data set.
        weight: share of the identities of each batch, relative to the other sources.
        rows: trainable rows, ascending.
        validation: rows of the identities set aside, ascending.
    """

    dataset: Dataset
    weight: float
    rows: Int64[np.ndarray, " n"]
    validation: Int64[np.ndarray, " v"]


def parse_source(text: str) -> tuple[str, float | None]:
    """Split "path" or "path:weight"; a path may hold colons as long as no number follows the last one.

    Raises:
        UserError: for an empty path, or a weight that is not above 0.
    """
    match = _WEIGHTED.fullmatch(text)
    path, weight = (match["path"], float(match["weight"])) if match else (text, None)
    if not path:
        raise UserError(f"{text!r} names no data set", where="data.sources", cure='write "path" or "path:weight"')
    if weight is not None and not 0 < weight < float("inf"):
        raise UserError(f"{text!r} has a weight of {weight:g}", where="data.sources", cure="use a weight above 0")
    return path, weight


def open_sources(texts: Sequence[str], *, val_ids: float, cache: ShardCache | None = None) -> tuple[Source, ...]:
    """Open the data sets of a training run.

    Args:
        texts: "path" or "path:weight" each. Without any weights, sources count by their identities, so that an epoch
            sees every identity about once; otherwise each needs one.
        val_ids: share of the identities to set aside, in [0, 1).
        cache: that shards are read through; None reads them where they lie.

    Raises:
        UserError: for a folder that is no data set, one without trainable rows, one named twice, or weights for some
            sources only.
    """
    parsed = [parse_source(text) for text in texts]
    weights = [weight for _, weight in parsed if weight is not None]
    if weights and len(weights) < len(parsed):
        raise UserError(
            "some sources have a weight and some have none", where="data.sources", cure="give all of them one, or none"
        )
    sources = tuple(_open(path, weight, val_ids, cache) for path, weight in parsed)
    paths = [source.dataset.path for source in sources]
    if twice := [path for number, path in enumerate(paths) if path in paths[:number]]:
        raise UserError(f"{twice[0]} is named twice", where="data.sources", cure='raise its weight instead: "path:2"')
    return sources


def _open(path: str, weight: float | None, val_ids: float, cache: ShardCache | None) -> Source:
    dataset = open_dataset(path, cache=cache)
    index = dataset.index
    rows = index.select(split="train", role="person")
    rows = rows[index.pid[rows] >= 0]
    aside = held_out(index.pid[rows], val_ids, _SPLIT_SEED)
    if aside.all():
        found = ", ".join(index.splits) or "none"
        cure = "choose a data set with a train split" if not len(rows) else "lower data.val_ids"
        raise UserError(f"there is nothing to train on; splits: {found}", where=dataset.path, cure=cure)
    kept = rows[~aside]
    share = float(len(np.unique(index.pid[kept]))) if weight is None else weight
    return Source(dataset=dataset, weight=share, rows=kept, validation=rows[aside])
