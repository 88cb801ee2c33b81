"""The identity sampler: which rows make up each logical batch of P identities x K images.

A batch is a pure function of (seed, epoch, step) over the index: no state, no worker count, no iteration order
enters. So the same batches come for any number of workers and loader threads, and resuming at any step costs nothing.

* Identities of a source follow a permutation; where it ends inside an epoch a fresh one begins, arranged so that no
  identity stands twice in one batch. An epoch is by default just long enough for every identity once. With fewer
  `steps_per_epoch` the permutation goes on over the next epochs (a *lap* of epochs) before a new one begins.
* Images of an identity are chosen one by one: not yet in this draw, least used in this epoch, then a camera (and
  outfit) not yet in this draw, then by chance (`picking.py`). All images of an identity are used before one is
  repeated.
* Sources mix by weight: places are dealt out over the epoch at even distances, so each prefix of it has the wanted
  shares.

Random numbers are PCG64's raw stream, seeded by a hash of integers, and permutations are sorts of it: numpy promises
that this stream never changes, which it does not for `Generator.permutation`. Source: Hermans et al. 2017
(arXiv:1703.07737), P x K batches; the rest is ours. Trade-off: K images of an identity are spread over its cameras,
so images of a camera that saw an identity rarely are drawn more often than the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt64

from resight.cluster.errors import UserError
from resight.datasets.picking import pick_images

__all__ = ["Plan", "SamplerConfig", "SourceRows", "make_plan"]

_IDENTITIES, _IMAGES = 1, 2  # streams of random numbers


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """The shape of a logical batch.

    Attributes:
        ids_per_batch: P, different identities in a batch.
        images_per_id: K, images of each.
        steps_per_epoch: batches in an epoch; None is just enough for every identity of every source once.
        spread: what the K images should differ in, most important first.
        accumulate: micro-batches of a step. Each has P / accumulate of its identities and is what losses, mining and
            batch statistics see; their gradients are averaged.
        bn_group: gradient caching: images, over all workers, that go through the network at a time and share batch
            statistics, while the losses see the whole (micro-)batch. None: all of them at once.
    """

    ids_per_batch: int = 16
    images_per_id: int = 4
    steps_per_epoch: int | None = None
    spread: tuple[Literal["camid", "outfit"], ...] = ("camid",)
    accumulate: int = 1
    bn_group: int | None = None

    def __post_init__(self) -> None:
        for name in ("ids_per_batch", "images_per_id", "steps_per_epoch", "accumulate", "bn_group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"sampler.{name} is {value}", where=f"sampler.{name}", cure="use 1 or more")
        if self.ids_per_batch % self.accumulate:
            raise UserError(
                f"{self.ids_per_batch} identities cannot be shared out to {self.accumulate} micro-batches",
                where="sampler.accumulate",
                cure="use a divisor of sampler.ids_per_batch",
            )
        if self.bn_group and self.micro_batch % self.bn_group:
            raise UserError(
                f"{self.micro_batch} images cannot be cut into groups of {self.bn_group}",
                where="sampler.bn_group",
                cure=f"use a divisor of {self.micro_batch}, the images that a loss sees",
            )

    @property
    def micro_batch(self) -> int:
        """Images that a loss sees: P x K / accumulate."""
        return self.ids_per_batch * self.images_per_id // self.accumulate

    @property
    def chunks(self) -> int:
        """Passes that the images of one loss go through the network in."""
        return self.micro_batch // (self.bn_group or self.micro_batch)

    @property
    def parts(self) -> tuple[range, ...]:
        """Places of a step's batch that pass through the network together, in order: accumulate x chunks of them."""
        size = self.micro_batch // self.chunks
        return tuple(range(at, at + size) for at in range(0, self.ids_per_batch * self.images_per_id, size))


@dataclass(frozen=True, kw_only=True)
class SourceRows:
    """One source's rows, as the sampler sees them.

    Attributes:
        weight: share of the identities of each batch, relative to the other sources' weights; > 0.
        pid: (n,) identities; rows below 0 are counted but never drawn.
        camid: (n,) cameras.
        outfit: (n,) clothes.
        name: for messages.
    """

    weight: float
    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    outfit: Int64[np.ndarray, " n"]
    name: str = ""


class Plan:
    """All batches of a run; make one with `make_plan`.

    Attributes:
        steps_per_epoch: logical batches in an epoch.
        num_classes: identities over all sources.
        labels: (N,) class of each row of the concatenated sources, by (source, pid) in rising order; -1 never drawn.
        batch_size: L = P x K.
    """

    def __init__(self, sources: Sequence[SourceRows], config: SamplerConfig, *, seed: int) -> None:
        self.seed = seed
        self.config = config
        self.labels, counts = _label(sources)
        self.num_classes = sum(counts)
        self.batch_size = config.ids_per_batch * config.images_per_id
        shares = _shares([source.weight for source in sources])
        self.steps_per_epoch = config.steps_per_epoch or _steps_for_all(counts, shares, config.ids_per_batch)
        self._deal = _deal(shares, self.steps_per_epoch * config.ids_per_batch)
        self._counts = counts
        _refuse_impossible(sources, counts, self._deal, config)
        rows = np.flatnonzero(self.labels >= 0)
        self._rows = rows[np.argsort(self.labels[rows], kind="stable")]
        self._starts = np.searchsorted(self.labels[self._rows], np.arange(self.num_classes + 1))
        columns = [np.concatenate([getattr(source, name) for source in sources]) for name in config.spread]
        self._spread = np.array([column[self._rows] for column in columns], np.int64).reshape(len(columns), len(rows))

    def epoch(self, epoch: int) -> Int64[np.ndarray, "steps l"]:
        """Return the rows of every batch of an epoch, the images of one identity side by side."""
        classes = self._classes(epoch)
        chance = _raw(len(self._rows), self.seed, _IMAGES, epoch)
        shuffled = np.lexsort((chance, self.labels[self._rows]))  # within each identity
        picked = pick_images(classes, self._starts, self._spread[:, shuffled], self.config.images_per_id)
        return self._rows[shuffled[picked]].reshape(self.steps_per_epoch, self.batch_size)

    def _classes(self, epoch: int) -> Int64[np.ndarray, " places"]:
        """Return the identity on every place of the epoch."""
        places = np.empty(len(self._deal), np.int64)
        first = 0
        for source, count in enumerate(self._counts):
            mine = np.flatnonzero(self._deal == source)
            batch = mine // self.config.ids_per_batch
            places[mine] = first + _identities(batch, count, self.seed, source, epoch)
            first += count
        return places


def make_plan(sources: Sequence[SourceRows], config: SamplerConfig, *, seed: int) -> Plan:
    """Plan the batches of a run.

    Args:
        sources: their trainable rows; row numbers of the plan count through all of them in order.
        config: P, K and the length of an epoch.
        seed: any integer >= 0.

    Raises:
        UserError: when a source has too few identities for its share of a batch, or a weight is not above 0.
    """
    if seed < 0:
        raise UserError(f"the seed is {seed}", where="seed", cure="use an integer of 0 or more")
    if not sources:
        raise UserError("there is nothing to train on", cure="give at least one data set: --data DIR")
    return Plan(sources, config, seed=seed)


def _raw(count: int, *entropy: int) -> UInt64[np.ndarray, " count"]:
    """Return `count` random 64-bit words, a pure function of the integers."""
    words = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(count)
    return np.asarray(words, np.uint64)


def _label(sources: Sequence[SourceRows]) -> tuple[Int64[np.ndarray, " n"], list[int]]:
    labels: list[np.ndarray] = []
    counts: list[int] = []
    for source in sources:
        known = source.pid >= 0
        names, codes = np.unique(source.pid[known], return_inverse=True)
        label = np.full(len(source.pid), -1, np.int64)
        label[known] = codes + sum(counts)
        labels.append(label)
        counts.append(len(names))
    return np.concatenate(labels), counts


def _shares(weights: Sequence[float]) -> list[Fraction]:
    for weight in weights:
        if not 0 < weight < float("inf"):
            raise UserError(f"a source has weight {weight}", where="data.sources", cure="use a weight above 0")
    exact = [Fraction(weight) for weight in weights]
    return [weight / sum(exact) for weight in exact]


def _steps_for_all(counts: Sequence[int], shares: Sequence[Fraction], ids_per_batch: int) -> int:
    needed = (Fraction(count) / (share * ids_per_batch) for count, share in zip(counts, shares, strict=True))
    return max(1, *(-(-steps.numerator // steps.denominator) for steps in needed))


def _deal(shares: Sequence[Fraction], places: int) -> Int64[np.ndarray, " places"]:
    """Return which source each place of an epoch belongs to: largest remainders, then even distances."""
    exact = [share * places for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(counts)), key=lambda source: (counts[source] - exact[source], source))
    for source in by_remainder[: places - sum(counts)]:
        counts[source] += 1
    position = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in counts])
    source = np.repeat(np.arange(len(counts)), counts)
    return source[np.lexsort((source, position))]


def _refuse_impossible(
    sources: Sequence[SourceRows], counts: Sequence[int], deal: np.ndarray, config: SamplerConfig
) -> None:
    p = config.ids_per_batch
    for number, (source, count) in enumerate(zip(sources, counts, strict=True)):
        most = int(np.bincount(np.flatnonzero(deal == number) // p, minlength=1).max())
        if most > count:
            raise UserError(
                f"a batch needs {most} different identities and there are {count}",
                where=source.name or f"source {number}",
                cure=f"set sampler.ids_per_batch (now {p}) to {p * count // most} or less"
                + (", or lower the source's weight" if len(sources) > 1 else ""),
            )
        if most == 0:
            raise UserError(
                f"weight {source.weight:g} is too small: no identity would be drawn in {len(deal) // p} steps",
                where=source.name or f"source {number}",
                cure="raise the weight or sampler.steps_per_epoch",
            )


def _identities(
    batch: Int64[np.ndarray, " m"], count: int, seed: int, source: int, epoch: int
) -> Int64[np.ndarray, " m"]:
    """Return the identities, 0 to count - 1, on one source's m places of an epoch, different within each batch.

    `batch` names the batch of each place, in rising order.
    """
    epochs_per_lap = -(-count // len(batch))
    lap, part = divmod(epoch, epochs_per_lap)
    batches = np.concatenate([batch + i * (batch[-1] + 1) for i in range(epochs_per_lap)])
    order = np.empty(len(batches), np.int64)
    for turn, begin in enumerate(range(0, len(order), count)):
        fresh = np.argsort(_raw(count, seed, _IDENTITIES, source, lap, turn), kind="stable")
        if begin:
            fresh = _apart(fresh, order, batches, begin)
        order[begin : begin + count] = fresh[: len(order) - begin]
    return order[part * len(batch) : (part + 1) * len(batch)]


def _apart(fresh: np.ndarray, order: np.ndarray, batches: np.ndarray, begin: int) -> np.ndarray:
    """Move identities that the batch around `begin` already holds behind the first ones that it does not."""
    if begin == len(batches) or batches[begin] != batches[begin - 1]:
        return fresh
    held, ends = np.searchsorted(batches, batches[begin], "left"), np.searchsorted(batches, batches[begin], "right")
    free = np.flatnonzero(~np.isin(fresh, order[held:begin]))[: ends - begin]
    return np.concatenate([fresh[free], np.delete(fresh, free)])
