"""From "path:weight" texts to opened data sets with the rows that may be trained on.

Trainable is what stands in the train split as a person with a known identity, minus identities set aside for
validation. Junk and distractors never enter; unlabelled crops do only when a label column (`labels.py`) gives them an
identity in place of `pid`. Source: design of this project. Trade-off: identities
are set aside with a fixed seed and not the run's, so that runs with several seeds are judged on the same people.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Int64

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.holdout import held_out
from resight.datasets.labels import LabelColumn, load_labels
from resight.datasets.shard_cache import ShardCache

__all__ = ["Source", "open_sources", "parse_source"]

_WEIGHTED: Final = re.compile(r"(?P<path>.*):(?P<weight>-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_SPLIT_SEED: Final = 0
_LABEL: Final = "give a label column with at least one identity"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One opened data set of a training run.

    Attributes:
        dataset: the data set.
        weight: share of the identities of each batch, relative to the other sources.
        rows: trainable rows, ascending: with given identities those that have one, with a label column all crops.
        validation: rows of the identities set aside, ascending.
        crops: all people of the train split that are not set aside, ascending, whether their identity is known or not:
            what may be clustered.
        labels: the label column in force; None for given identities.
        counted: the weight is the number of identities, and follows the labels.
    """

    dataset: Dataset
    weight: float
    rows: Int64[np.ndarray, " n"]
    validation: Int64[np.ndarray, " v"]
    crops: Int64[np.ndarray, " c"]
    labels: LabelColumn | None = None
    counted: bool = False

    @property
    def identities(self) -> Int64[np.ndarray, " n"]:
        """The identity of each of `rows`: the label column's, or the given one; -1 for an outlier, never drawn."""
        return (self.labels.labels if self.labels else self.dataset.index.pid)[self.rows]

    @property
    def version(self) -> str:
        """The version of the label column in force; "" for given identities."""
        return self.labels.version if self.labels else ""

    def relabelled(self, labels: LabelColumn | None) -> "Source":
        """Return this source with the identities of a label column, or with the given ones again (None).

        Raises:
            UserError: when the column belongs to other data, or leaves no identity to train on.
        """
        if labels is not None and labels.data_sha256 != self.dataset.card.sha256:
            raise UserError(
                f"the labels belong to other data ({labels.dataset!r}, {labels.data_sha256[:12]})",
                where=self.dataset.path,
                cure="give each source the labels that were made from it",
            )
        known = self.dataset.index.pid[self.crops] >= 0
        changed = replace(self, labels=labels, rows=self.crops if labels else self.crops[known])
        identities = np.unique(changed.identities[changed.identities >= 0])
        if not len(identities):
            raise UserError("the labels leave nothing to train on", where=self.dataset.path, cure=_LABEL)
        return replace(changed, weight=float(len(identities))) if self.counted else changed


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


def open_sources(
    texts: Sequence[str],
    *,
    val_ids: float,
    labels: Mapping[int, tuple[Storage, str]] | None = None,
    cache: ShardCache | None = None,
) -> tuple[Source, ...]:
    """Open the data sets of a training run.

    Args:
        texts: "path" or "path:weight" each. Without any weights, sources count by their identities, so that an epoch
            sees every identity about once; otherwise each needs one.
        val_ids: share of the given identities to set aside, in [0, 1).
        labels: source number -> where its label column is, and the version, for sources that are to be trained with
            one in place of the given identities.
        cache: that shards are read through; None reads them where they lie.

    Raises:
        UserError: for a folder that is no data set, one without trainable rows, one named twice, weights for some
            sources only, or labels that do not belong to their source.
    """
    parsed = [parse_source(text) for text in texts]
    weights = [weight for _, weight in parsed if weight is not None]
    if weights and len(weights) < len(parsed):
        raise UserError(
            "some sources have a weight and some have none", where="data.sources", cure="give all of them one, or none"
        )
    columns = labels or {}
    sources = tuple(_open(path, weight, val_ids, columns.get(n), cache) for n, (path, weight) in enumerate(parsed))
    paths = [source.dataset.path for source in sources]
    if twice := [path for number, path in enumerate(paths) if path in paths[:number]]:
        raise UserError(f"{twice[0]} is named twice", where="data.sources", cure='raise its weight instead: "path:2"')
    return sources


def _open(
    path: str,
    weight: float | None,
    val_ids: float,
    labels: tuple[Storage, str] | None,
    cache: ShardCache | None,
) -> Source:
    dataset = open_dataset(path, cache=cache)
    index = dataset.index
    people = index.select(split="train", role="person")
    aside = held_out(index.pid[people], val_ids, _SPLIT_SEED)
    crops = people[~aside]
    rows = crops[index.pid[crops] >= 0]
    source = Source(
        dataset=dataset,
        weight=float(len(np.unique(index.pid[rows]))) if weight is None else weight,
        rows=rows,
        validation=people[aside],
        crops=crops,
        counted=weight is None,
    )
    if labels is not None and len(crops):
        storage, version = labels
        return source.relabelled(load_labels(storage, version, dataset))
    if not len(rows):
        raise _nothing_to_train_on(source, people)
    return source


def _nothing_to_train_on(source: Source, people: np.ndarray) -> UserError:
    found = ", ".join(source.dataset.index.splits) or "none"
    if not len(people):
        cure = "choose a data set with a train split"
    elif len(source.crops):
        cure = "nobody is labelled here: cluster them first, and give the labels"
    else:
        cure = "lower data.val_ids"
    return UserError(f"there is nothing to train on; splits: {found}", where=source.dataset.path, cure=cure)
