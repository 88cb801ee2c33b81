"""Who may match whom: labels and rules turned into the small integer tables that the kernels read.

The gallery is grouped by identity once, so a query finds its possible matches as one range, in gallery order (or in
the order drawn), and nothing of size queries x gallery is ever made.
Source: design of this project; the rules are `protocol.py`'s. Trade-off: one stable sort of the gallery's identities.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int8, Int64

from resight.trainers.retrieval.protocol import JUNK, UNKNOWN, EvalProtocol, Field

__all__ = ["Labels", "Matching", "make_matching", "takes_part"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """What is known of a list of images, in order.

    Attributes:
        pid: (n,) identities; `JUNK` and `DISTRACTOR` as in `protocol.py`.
        camid: (n,) cameras, -1 when unknown.
        outfit: (n,) clothes, -1 when unknown; None: nothing is known of any.
        tracklet: (n,) tracks, as `outfit`.
    """

    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    outfit: Int64[np.ndarray, " n"] | None = None
    tracklet: Int64[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pid)

    def take(self, rows: Int64[np.ndarray, " k"] | slice) -> "Labels":
        """Return the labels of some of the images."""
        outfit = None if self.outfit is None else self.outfit[rows]
        tracklet = None if self.tracklet is None else self.tracklet[rows]
        return Labels(pid=self.pid[rows], camid=self.camid[rows], outfit=outfit, tracklet=tracklet)

    def field(self, name: Field) -> Int64[np.ndarray, " n"]:
        """Return a label of every image, `UNKNOWN` where it is not known."""
        values: Int64[np.ndarray, " n"] | None = getattr(self, name)
        if values is None:
            return np.full(len(self), UNKNOWN, np.int64)
        return np.where(values < 0, UNKNOWN, values).astype(np.int64)


class Matching(NamedTuple):
    """The tables, for Q queries, G gallery images, F fields and C rules. A named tuple, because numba reads those.

    Attributes:
        order: gallery positions without junk, grouped by identity; within one ascending, or as they were drawn.
        start: (Q,) where the query's identity begins in `order`.
        stop: (Q,) where it ends; equal to `start` when it is not in the gallery.
        rules: (C, F) 1: the field must be equal, -1: must differ, 0: is not looked at. One rule that holds drops.
        same: (Q, F) the query's value of each field, -1 when unknown.
        gallery_same: (G, F) the same of the gallery.
        own: (Q,) the query's own gallery position, which is never ranked for it; -1 when it has none.
        junk: gallery positions that are not ranked: junk, cameras that do not answer, images that were not drawn.
        single: whether one image of the query's identity is ranked instead of all.
        asks: (Q,) whether the query is one.
    """

    order: Int64[np.ndarray, " m"]
    start: Int64[np.ndarray, " q"]
    stop: Int64[np.ndarray, " q"]
    rules: Int8[np.ndarray, "c f"]
    same: Int64[np.ndarray, "q f"]
    gallery_same: Int64[np.ndarray, "g f"]
    own: Int64[np.ndarray, " q"]
    junk: Int64[np.ndarray, " j"]
    single: bool
    asks: Bool[np.ndarray, " q"]


def make_matching(
    query: Labels, gallery: Labels, protocol: EvalProtocol, *, seed: int = 0, repeat: int = 0
) -> Matching:
    """Build the tables for `query` against `gallery`; `seed` and `repeat` decide what a protocol that draws draws."""
    single, rest = protocol.gallery == "one", protocol.queries == "rest"
    junk: Bool[np.ndarray, " g"] = (gallery.pid == JUNK) | ~takes_part(gallery, protocol.gallery_cameras)
    asks = takes_part(query, protocol.query_cameras)
    ranked = np.flatnonzero(~junk)
    if single:
        ranked = np.random.default_rng([seed, repeat]).permutation(ranked)
    order = ranked[np.argsort(gallery.pid[ranked], kind="stable")]
    if single:
        junk[_beyond_the_first(gallery.pid[order], order)] = True
    if rest:
        assert len(query) == len(gallery), "the images that ask are the images that answer"
        asks &= junk & (gallery.pid >= 0)
    grouped = gallery.pid[order]
    nobody = (query.pid < 0) | ~asks
    fields = _fields(protocol)
    return Matching(
        order=order.astype(np.int64),
        start=np.where(nobody, 0, np.searchsorted(grouped, query.pid, side="left")).astype(np.int64),
        stop=np.where(nobody, 0, np.searchsorted(grouped, query.pid, side="right")).astype(np.int64),
        rules=_rules(protocol, fields),
        same=_columns(query, fields),
        gallery_same=_columns(gallery, fields),
        own=np.arange(len(query)) if rest else np.full(len(query), -1, np.int64),
        junk=np.flatnonzero(junk).astype(np.int64),
        single=single,
        asks=asks,
    )


def takes_part(labels: Labels, cameras: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    """Return which images are of one of `cameras`; () is all."""
    return np.isin(labels.camid, cameras) if cameras else np.ones(len(labels), bool)


def _beyond_the_first(pids: Int64[np.ndarray, " m"], order: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " k"]:
    """Return the positions that a draw leaves out: of each identity all but the first. Distractors have none."""
    again = np.r_[False, pids[1:] == pids[:-1]] & (pids >= 0)
    return order[again[: len(order)]]


def _fields(protocol: EvalProtocol) -> list[Field]:
    """Return the fields that the rules look at, each once."""
    return list(dict.fromkeys(name for rule in protocol.drop for name in (*rule.same, *rule.other)))


def _rules(protocol: EvalProtocol, fields: list[Field]) -> Int8[np.ndarray, "c f"]:
    table = np.zeros((len(protocol.drop), len(fields)), np.int8)
    for number, rule in enumerate(protocol.drop):
        table[number, [fields.index(name) for name in rule.same]] = 1
        table[number, [fields.index(name) for name in rule.other]] = -1
    return table


def _columns(labels: Labels, fields: list[Field]) -> Int64[np.ndarray, "n f"]:
    columns: list[Any] = [labels.field(name) for name in fields]
    return np.stack(columns, axis=1) if columns else np.empty((len(labels), 0), np.int64)
