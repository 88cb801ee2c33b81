"""Feature files on their way into an index: everything that can be wrong with them is found before anything is written.

Source: design of this project. Trade-off: each file is read twice, to check it and to write it, so that none has to
fit into memory; its keys do, about 100 bytes an image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Float64

from resight.cluster.errors import UserError
from resight.trainers.gallery.features import FeatureCard, Features, iterate_features, read_card
from resight.trainers.gallery.provenance import Model
from resight.trainers.gallery.segments import Part

__all__ = ["Incoming", "parts", "read_incoming"]

_SHORTEST: Final = 1e-12  # a vector that is shorter has no direction
_LONGEST_KEY: Final = 512


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """Checked files.

    Attributes:
        model: of all of them.
        cards: by path.
        keys: of the images that enter, by path.
        junk: how many images do not, because they are never ranked.
    """

    model: Model
    cards: Mapping[Path, FeatureCard]
    keys: Mapping[Path, set[str]]
    junk: int

    @property
    def images(self) -> int:
        """How many images enter."""
        return sum(map(len, self.keys.values()))

    def of(self, dataset: str) -> set[str]:
        """Return the keys that enter from a data set."""
        found = (keys for path, keys in self.keys.items() if self.cards[path].dataset == dataset)
        return set[str]().union(*found)


def read_incoming(files: Sequence[Path]) -> Incoming:
    """Look at every row of some files.

    Raises:
        UserError: for files that cannot be read or hold no images, features of different models, vectors that are not
            finite or have no direction, and keys that occur twice.
    """
    cards: dict[Path, FeatureCard] = {}
    for path in files:
        if path in cards:
            raise UserError("this file is given twice", where=str(path), cure="give each file once")
        cards[path] = read_card(path)
    _same_model(cards)
    keys: dict[Path, set[str]] = {}
    for path, card in cards.items():
        keys[path] = _keys_of(path)
        for other in keys:
            if other != path and cards[other].dataset == card.dataset and (both := keys[other] & keys[path]):
                problem = f"the key {min(both)!r} of the data set {card.dataset!r} is in {other} too"
                cure = "leave one of them out; another data set needs another name (resight pack --name)"
                raise UserError(problem, where=str(path), cure=cure)
    entering = sum(map(len, keys.values()))
    total = sum(card.rows for card in cards.values())
    return Incoming(model=next(iter(cards.values())).model, cards=cards, keys=keys, junk=total - entering)


def parts(path: Path) -> Iterator[Part]:
    """Yield the images of a checked file that enter, their vectors scaled to unit length."""
    for rows in iterate_features(path):
        wanted = _wanted(rows)
        if wanted.any():
            vectors = rows.feature[wanted] / _lengths(rows.feature[wanted])[:, None]
            yield Part(
                key=rows.key[wanted],
                pid=rows.pid[wanted],
                camid=rows.camid[wanted],
                vectors=vectors.astype(np.float32),
            )


def _same_model(cards: Mapping[Path, FeatureCard]) -> None:
    (first, card), *others = cards.items()
    for path, other in others:
        if not other.model.same_as(card.model):
            problem = f"the files are of different models: {card.model} in {first}, {other.model} here"
            raise UserError(problem, where=str(path), cure="embed all data sets with one model")


def _keys_of(path: Path) -> set[str]:
    keys: set[str] = set()
    for rows in iterate_features(path):
        _check_vectors(path, rows)
        for key in rows.key[_wanted(rows)].tolist():
            if not (key.isprintable() and 0 < len(key) <= _LONGEST_KEY):
                raise UserError(f"the key {key[:40]!r} is no line of text", where=str(path), cure="rename the image")
            if key in keys:
                cure = "make the file again with `resight embed`"
                raise UserError(f"the key {key!r} occurs twice", where=str(path), cure=cure)
            keys.add(key)
    if not keys:
        cure = "embed a data set or split that has images of people"
        raise UserError("the file holds no images that can be ranked", where=str(path), cure=cure)
    return keys


def _check_vectors(path: Path, rows: Features) -> None:
    length = _lengths(rows.feature)
    bad = np.flatnonzero(~(np.isfinite(length) & (length > _SHORTEST)))
    if len(bad):
        what = "is all zeros" if length[bad[0]] <= _SHORTEST else "is not finite"
        cure = "embed again with a checkpoint from before the loss diverged"
        raise UserError(f"the vector of {rows.key[bad[0]]!r} {what}", where=str(path), cure=cure)


def _wanted(rows: Features) -> Bool[np.ndarray, " n"]:
    return np.array([role != "junk" for role in rows.role.tolist()], bool)


def _lengths(features: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    wide = features.astype(np.float64)
    return np.sqrt(np.einsum("nd,nd->n", wide, wide))
