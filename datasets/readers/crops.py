"""From what names say to records: keys, and numbers for clothes that are told apart by words.

A reader states each crop as a `Crop`; here it becomes a record with a key that is unique, stable and readable:
the split and the file's name, folders joined by "--".
Source: design of this project; outfits count per identity, over the whole data set, as in LTCC (Qian et al. 2020).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from resight.datasets.readers.rows import key_of
from resight.datasets.readers.scan import Source
from resight.datasets.records import Record, Role, Split

__all__ = ["Crop", "key_in", "sources_of"]

_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,90}")


class Crop(NamedTuple):
    """One crop as its data set labels it; -1 and "" mean unknown.

    Attributes:
        origin: path below the scan's root, POSIX.
        size: bytes of the file.
        key: its key (`key_in`).
        outfit: a name for the clothes, only compared within the identity.
    """

    origin: str
    size: int
    key: str
    split: Split
    pid: int
    camid: int = -1
    outfit: str = ""
    tracklet: int = -1
    frame: int = -1
    viewid: int = -1
    role: Role = "person"


def key_in(prefix: str, path: str) -> str:
    """Return the key of a file: `prefix`, then its path without the suffix, "/" as "--".

    Different paths have different keys: one that holds "--" itself, or other letters than keys may have, gets a hash.
    """
    stem = path.rpartition(".")[0]
    key = f"{prefix}_{stem.replace('/', '--')}"
    return key if "--" not in stem and _SAFE.fullmatch(key) else key_of(f"{prefix}/{path}")


def sources_of(dataset: str, crops: Sequence[Crop]) -> list[Source]:
    """Return a source for each crop; outfits are numbered in the order of (pid, name)."""
    outfits = _number_outfits(crops)
    return [
        Source(
            record=Record.of(
                {
                    "key": crop.key,
                    "pid": crop.pid,
                    "camid": crop.camid,
                    "dataset": dataset,
                    "split": crop.split,
                    "viewid": crop.viewid,
                    "outfit": outfits.get((crop.pid, crop.outfit), -1),
                    "tracklet": crop.tracklet,
                    "frame": crop.frame,
                    "role": crop.role,
                    "origin": crop.origin,
                }
            ),
            size=crop.size,
        )
        for crop in crops
    ]


def _number_outfits(crops: Iterable[Crop]) -> dict[tuple[int, str], int]:
    worn = sorted({(crop.pid, crop.outfit) for crop in crops if crop.outfit})
    return {pair: number for number, pair in enumerate(worn)}
