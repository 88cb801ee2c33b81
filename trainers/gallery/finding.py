"""From pictures and an index to answers: the right model, its features of the queries, the nearest images.

Source: design of this project. Trade-off: the model is loaded for every command; in Python it is loaded once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from resight.cluster.words import counted
from resight.trainers.gallery.index import GalleryImage, GalleryIndex, open_index
from resight.trainers.gallery.nearest import Hits
from resight.trainers.gallery.probing import check_probes
from resight.trainers.gallery.provenance import find_model
from resight.trainers.gallery.queries import Query, embed_queries, read_queries
from resight.trainers.gallery.search import search
from resight.trainers.gallery.where import parse_filters
from resight.trainers.load import load_embedder

__all__ = ["Answer", "Findings", "Probed", "answers_in", "find"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One image that was found, and its cosine distance."""

    image: GalleryImage
    distance: float


@dataclass(frozen=True, kw_only=True)
class Probed:
    """How far a search by cells looked.

    Attributes:
        probes: cells looked into, of each query.
        cells: that the index has.
        compared: share of the index's images that a query was compared with, in [0, 1]; the mean over queries.
        short: queries with fewer answers than were asked for, because the cells hold no more.
    """

    probes: int
    cells: int
    compared: float
    short: int

    @property
    def approximate(self) -> bool:
        """Whether there were cells that were not looked into."""
        return self.probes < self.cells

    def __str__(self) -> str:
        """Return it in a sentence for people."""
        text = (
            f"{'approximate' if self.approximate else 'exact'}: {self.probes:,} of {self.cells:,} cells looked into, "
            f"{100 * self.compared:.3g}% of the images compared"
        )
        fewer = counted(self.short, "[query has|queries have] fewer answers than were asked for: try more --probes")
        return f"{text}; {fewer}" if self.short else text


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was found.

    Attributes:
        index: in which index.
        checkpoint: the folder or URL of the model that looked.
        where: the filters that were set.
        queries: what was searched for.
        answers: for each query, nearest first.
        probed: how far a search by cells looked; None when every image was compared.
    """

    index: GalleryIndex
    checkpoint: str
    where: tuple[str, ...]
    queries: Sequence[Query]
    answers: Sequence[Sequence[Answer]]
    probed: Probed | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found = [
            {
                "query": query.name,
                "results": [{**vars(answer.image), "distance": answer.distance} for answer in answers],
            }
            for query, answers in zip(self.queries, self.answers, strict=True)
        ]
        return {
            "index": self.index.path,
            "images": len(self.index),
            "where": list(self.where),
            "approximate": self.probed is not None and self.probed.approximate,
            "probed": None if self.probed is None else asdict(self.probed),
            "found": found,
        }


def find(
    words: Sequence[str],
    path: Path,
    *,
    run: str | Path | None = None,
    top: int = 10,
    where: Sequence[str] = (),
    probes: int | None = None,
) -> Findings:
    """Search an index for pictures.

    Args:
        words: as `read_queries` takes them. An image that is in the index itself is not among its own answers.
        path: the index's folder.
        run: the run or checkpoint that made the index; None: the place the index names.
        top: answers a query.
        where: filters, as `parse_filters` takes them.
        probes: as `search` takes it.

    Raises:
        UserError: as `open_index`, `find_model`, `read_queries`, `parse_filters` and `search`.
    """
    allowed, index = parse_filters(where), open_index(path)
    if probes is not None:
        check_probes(index, probes)
    checkpoint = find_model(index.manifest.model, run)
    queries = read_queries(words)
    features = embed_queries(load_embedder(checkpoint), queries)
    own = [-1 if query.dataset is None else index.position(query.dataset.name, query.key) for query in queries]
    hits = search(index, features, top, allowed=allowed, leave_out=np.array(own, np.int64), probes=probes)
    return Findings(
        index=index,
        checkpoint=checkpoint,
        where=tuple(where),
        queries=queries,
        answers=_answers(index, hits),
        probed=None if probes is None else _probed(index, hits, probes),
    )


def answers_in(
    index: GalleryIndex, features: Shaped[np.ndarray, "q d"], k: int, *, probes: int | None = None
) -> list[list[Answer]]:
    """Search with features; as `search`, but with what is known of each image."""
    return _answers(index, search(index, features, k, probes=probes))


def _answers(index: GalleryIndex, hits: Hits) -> list[list[Answer]]:
    return [
        [
            Answer(image=index.image(position), distance=distance)
            for position, distance in zip(positions, distances, strict=True)
            if position >= 0
        ]
        for positions, distances in zip(hits.positions.tolist(), hits.distances.tolist(), strict=True)
    ]


def _probed(index: GalleryIndex, hits: Hits, probes: int) -> Probed:
    return Probed(
        probes=probes,
        cells=0 if index.centroids is None else len(index.centroids),
        compared=float(hits.compared.mean()) / len(index),
        short=int((hits.positions[:, -1] < 0).sum()),
    )
