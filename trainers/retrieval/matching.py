"""Who may match whom: labels turned into the small tables that the kernels read.

The gallery is grouped by identity once, so a query finds its possible matches as one range, in gallery order, and
nothing of size queries x gallery is ever made.
Source: design of this project; the rules are `protocol.py`'s. Trade-off: one stable sort of the gallery's identities.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64

from resight.trainers.retrieval.protocol import JUNK, UNKNOWN, EvalProtocol

__all__ = ["Labels", "Matching", "make_matching"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """What is known of a list of images, in order.

    Attributes:
        pid: (n,) identities; `JUNK` and `DISTRACTOR` as in `protocol.py`.
        camid: (n,) cameras, -1 when unknown.
    """

    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pid)

    def take(self, rows: Int64[np.ndarray, " k"] | slice) -> "Labels":
        """Return the labels of some of the images."""
        return Labels(pid=self.pid[rows], camid=self.camid[rows])


class Matching(NamedTuple):
    """The tables, for Q queries, G gallery images and F protocol fields. A named tuple, because numba reads those.

    Attributes:
        order: gallery positions without junk, grouped by identity, ascending within an identity.
        start: (Q,) where the query's identity begins in `order`.
        stop: (Q,) where it ends; equal to `start` when it is not in the gallery.
        same: (Q, F) the query's value of each field, -1 when unknown.
        gallery_same: (G, F) the same of the gallery.
        junk: gallery positions that are never ranked.
    """

    order: Int64[np.ndarray, " m"]
    start: Int64[np.ndarray, " q"]
    stop: Int64[np.ndarray, " q"]
    same: Int64[np.ndarray, "q f"]
    gallery_same: Int64[np.ndarray, "g f"]
    junk: Int64[np.ndarray, " j"]


def make_matching(query: Labels, gallery: Labels, protocol: EvalProtocol) -> Matching:
    """Build the tables for `query` against `gallery`."""
    is_junk: Bool[np.ndarray, " g"] = gallery.pid == JUNK
    ranked = np.flatnonzero(~is_junk)
    order = ranked[np.argsort(gallery.pid[ranked], kind="stable")]
    grouped = gallery.pid[order]
    start = np.searchsorted(grouped, query.pid, side="left")
    stop = np.searchsorted(grouped, query.pid, side="right")
    nobody = query.pid < 0
    return Matching(
        order=order.astype(np.int64),
        start=np.where(nobody, 0, start).astype(np.int64),
        stop=np.where(nobody, 0, stop).astype(np.int64),
        same=_fields(query, protocol),
        gallery_same=_fields(gallery, protocol),
        junk=np.flatnonzero(is_junk).astype(np.int64),
    )


def _fields(labels: Labels, protocol: EvalProtocol) -> Int64[np.ndarray, "n f"]:
    known: dict[str, Int64[np.ndarray, " n"] | Int32[np.ndarray, " n"]] = {"camid": labels.camid}
    columns = [np.asarray(known[name], np.int64) for name in protocol.drop_same]
    table = np.stack(columns, axis=1) if columns else np.empty((len(labels), 0), np.int64)
    return np.where(table < 0, UNKNOWN, table)
