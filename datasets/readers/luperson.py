"""LUPerson: 4.18 million crops from street videos, without labels, for pre-training.

JPEG files in folders of any depth up to four: `COUNTRY/CITY/VIDEO/*.jpg` as published, `images/...` in TransReID-SSL's
copy. Nobody is labelled (`pid` -1, no cameras), everything is in the train split, and `origin` keeps the path.
Only names and sizes are kept in memory, about forty bytes an image: records are made one at a time while units of work
are planned. Copies in an LMDB, and lists of chosen images (`CFS_list.pkl`, a pickle), are not read.
Source: Fu et al., Unsupervised Pre-training for Person Re-identification, CVPR 2021 (arXiv:2012.03753).
"""

import bisect
import itertools
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, overload

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import key_in
from resight.datasets.readers.scan import IMAGE_SUFFIXES, Scan, Source
from resight.datasets.records import Record

__all__ = ["LuPerson"]

_INSIDE: Final = ("luperson", "LUPerson", "LUP")
_DEPTH: Final = 4
_ABOUT: Final = About(
    title="LUPerson",
    what="unlabelled crops from street videos, for pre-training",
    terms="non-commercial research, on request from the authors",
    citation="Fu et al., Unsupervised Pre-training for Person Re-identification, CVPR 2021",
    images=4_180_243,
    sizes={"train": Size(images=4_180_243)},
)


class _Pile(NamedTuple):
    """The images of one folder: names joined by line ends, and sizes in the same order."""

    folder: str
    names: str
    sizes: "array[int]"


@dataclass(frozen=True, kw_only=True)
class LuPerson:
    """Reader of LUPerson, or of any folder of crops without labels."""

    name: str = "luperson"
    version: str = "luperson-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """List every image; UserError when there is none."""
        home = next((root / name for name in _INSIDE if (root / name).is_dir()), root)
        if not home.is_dir():
            raise UserError("there is no such folder", where=str(home), cure="check the path")
        others = _Others()
        piles = list(_piles(home, "", _DEPTH, others))
        if not piles:
            cure = "unpack LMDB copies first" if (home / "data.mdb").exists() else "give the folder above the countries"
            raise UserError("there are no images", where=str(home), cure=cure)
        return Scan(root=home, sources=_Unlabelled(self.name, piles), notes=others.notes())


class _Others:
    """Counts files that are no images."""

    def __init__(self) -> None:
        self.count = 0
        self.example = ""

    def add(self, path: str) -> None:
        self.count += 1
        self.example = self.example or path

    def notes(self) -> tuple[str, ...]:
        return (f"{self.count} files are no images, e.g. {self.example!a}",) if self.count else ()


class _Unlabelled(Sequence[Source]):
    """Sources in the order of folders, then names, made when they are asked for."""

    def __init__(self, dataset: str, piles: Sequence[_Pile]) -> None:
        self._dataset = dataset
        self._piles = piles
        self._ends = list(itertools.accumulate(len(pile.sizes) for pile in piles))

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[Source]:
        for pile in self._piles:
            for name, size in zip(pile.names.split("\n"), pile.sizes, strict=True):
                yield self._source(pile.folder + name, size)

    @overload
    def __getitem__(self, index: int) -> Source: ...
    @overload
    def __getitem__(self, index: slice) -> list[Source]: ...
    def __getitem__(self, index: int | slice) -> Source | list[Source]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        which = bisect.bisect_right(self._ends, number)
        pile = self._piles[which]
        place = number - self._ends[which] + len(pile.sizes)
        return self._source(pile.folder + pile.names.split("\n")[place], pile.sizes[place])

    def _source(self, path: str, size: int) -> Source:
        record = Record(key=key_in("train", path), pid=-1, camid=-1, dataset=self._dataset, split="train", origin=path)
        return Source(record=record, size=size)


def _piles(home: Path, prefix: str, depth: int, others: _Others) -> Iterator[_Pile]:
    """Yield the images of every folder, folders in order; a name that is no text or breaks lines is no image."""
    images: list[tuple[str, int]] = []
    folders: list[str] = []
    with os.scandir(home / prefix) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(name)
            elif name.lower().endswith(IMAGE_SUFFIXES) and name.isprintable():
                images.append((name, entry.stat().st_size))
            else:
                others.add(prefix + name)
    if images:
        images.sort()
        yield _Pile(prefix, "\n".join(name for name, _ in images), array("Q", (size for _, size in images)))
    for name in sorted(folders):
        if depth > 1:
            yield from _piles(home, f"{prefix}{name}/", depth - 1, others)
