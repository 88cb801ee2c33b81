"""From pictures and an index to answers: the right model, its features of the queries, the nearest images.

Source: design of this project. Trade-off: the model is loaded for every command; in Python it is loaded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped

from resight.trainers.gallery.index import GalleryImage, GalleryIndex, open_index
from resight.trainers.gallery.provenance import find_model
from resight.trainers.gallery.queries import Query, embed_queries, read_queries
from resight.trainers.gallery.search import search
from resight.trainers.gallery.where import Filter, everything, parse_filters
from resight.trainers.load import load_embedder

__all__ = ["Answer", "Findings", "answers_in", "find"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One image that was found, and its cosine distance."""

    image: GalleryImage
    distance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was found.

    Attributes:
        index: in which index.
        checkpoint: the folder or URL of the model that looked.
        where: the filters that were set.
        queries: what was searched for.
        answers: for each query, nearest first.
    """

    index: GalleryIndex
    checkpoint: str
    where: tuple[str, ...]
    queries: Sequence[Query]
    answers: Sequence[Sequence[Answer]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found = [
            {
                "query": query.name,
                "results": [{**vars(answer.image), "distance": answer.distance} for answer in answers],
            }
            for query, answers in zip(self.queries, self.answers, strict=True)
        ]
        return {"index": self.index.path, "images": len(self.index), "where": list(self.where), "found": found}


def find(
    words: Sequence[str], path: Path, *, run: str | Path | None = None, top: int = 10, where: Sequence[str] = ()
) -> Findings:
    """Search an index for pictures.

    Args:
        words: as `read_queries` takes them. An image that is in the index itself is not among its own answers.
        path: the index's folder.
        run: the run or checkpoint that made the index; None: the place the index names.
        top: answers a query.
        where: filters, as `parse_filters` takes them.

    Raises:
        UserError: as `open_index`, `find_model`, `read_queries`, `parse_filters` and `search`.
    """
    allowed, index = parse_filters(where), open_index(path)
    checkpoint = find_model(index.manifest.model, run)
    queries = read_queries(words)
    features = embed_queries(load_embedder(checkpoint), queries)
    own = [-1 if query.dataset is None else index.position(query.dataset.name, query.key) for query in queries]
    answers = answers_in(index, features, top, allowed=allowed, leave_out=np.array(own, np.int64))
    return Findings(index=index, checkpoint=checkpoint, where=tuple(where), queries=queries, answers=answers)


def answers_in(
    index: GalleryIndex,
    features: Shaped[np.ndarray, "q d"],
    k: int,
    *,
    allowed: Filter = everything,
    leave_out: Int64[np.ndarray, " q"] | None = None,
) -> list[list[Answer]]:
    """Search with features; as `search`, but with what is known of each image."""
    hits = search(index, features, k, allowed=allowed, leave_out=leave_out)
    return [
        [
            Answer(image=index.image(position), distance=distance)
            for position, distance in zip(positions, distances, strict=True)
            if position >= 0
        ]
        for positions, distances in zip(hits.positions.tolist(), hits.distances.tolist(), strict=True)
    ]
