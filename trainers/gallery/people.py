"""Whom to forget: identities and images as a user writes them, found in an index.

"7" is the identity 7, "market:7" that of one data set. Identities are numbers that each data set gives for itself, so a
bare number that occurs in several data sets names different people, and is refused: deleting the wrong one cannot be
undone. Keys work the same way, for images that nobody has given an identity.
Source: design of this project.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from resight.cluster.errors import UserError
from resight.trainers.gallery.segments import OpenSegment

__all__ = ["Found", "People"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where they are.

    Attributes:
        masks: for each segment, which of its images.
        counts: for each word that was given, how many images.
    """

    masks: Sequence[Bool[np.ndarray, " _"]]
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class People:
    """Identities and images.

    Attributes:
        pids: each "PID" or "DATASET:PID".
        keys: each "KEY" or "DATASET:KEY".
    """

    pids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def find(self, opened: Sequence[OpenSegment]) -> Found:
        """Look for them; UserError for a word that is no identity, or stands for images of several data sets."""
        masks = [np.zeros(len(segment.key), bool) for segment in opened]
        counts: dict[str, int] = {}
        for word in self.pids:
            name, number = _split(word)
            counts[word] = _mark(word, name, opened, masks, [part.pid == _pid(word, number) for part in opened])
        for word in self.keys:
            name, key = _split(word)
            counts[word] = _mark(word, name, opened, masks, [np.asarray(part.key == key, bool) for part in opened])
        return Found(masks=masks, counts=counts)


def _split(word: str) -> tuple[str | None, str]:
    name, colon, rest = word.rpartition(":")
    return (name, rest) if colon else (None, word)


def _pid(word: str, number: str) -> int:
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        cure = "give a number of 0 or more, or DATASET:PID; images without an identity go by --forget-keys"
        raise UserError(f"{word!r} is no identity", where="--forget", cure=cure)
    return int(number)


def _mark(
    word: str, name: str | None, opened: Sequence[OpenSegment], masks: list[np.ndarray], same: list[np.ndarray]
) -> int:
    here = [found & (name is None or part.segment.dataset == name) for found, part in zip(same, opened, strict=True)]
    owners = sorted({part.segment.dataset for found, part in zip(here, opened, strict=True) if found.any()})
    if len(owners) > 1:
        cure = f"say of which data set: {' or '.join(f'{owner}:{word}' for owner in owners)}"
        raise UserError(f"{word!r} is in several data sets: {', '.join(owners)}", where="--forget", cure=cure)
    for mask, found in zip(masks, here, strict=True):
        mask |= found
    return sum(int(found.sum()) for found in here)
