"""DeepChange: 1,121 people under 17 cameras over twelve months, who change clothes, hair and company.

Five folders with a list each, `NAME-bbox.txt`: `train-set/`, `val-set-query/`, `val-set-gallery/`, `test-set-query/`
and `test-set-gallery/`. A line is `FILE.jpg,TRACKLET`; the file's fields are `P<identity>_C<camera>_<clothes>...`.
Cameras keep their numbers. Both validation parts become the split "val"; the first folder of `origin` tells them apart.
Matches under the query's own camera count when their tracklet differs: drop the same `tracklet`, not the same camera.
Source: Xu and Zhu, DeepChange: A Large Long-Term Person Re-Identification Benchmark with Clothes Change,
arXiv:2105.14685; the rule about tracklets as in Gu et al. 2022 (CAL).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in, sources_of
from resight.datasets.readers.grammar import find_home
from resight.datasets.readers.lists import listing, missing_note, read_list, unlisted_note, whole_number
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Split

__all__ = ["DeepChange"]

_NAME: Final = re.compile(r"P(?P<pid>[0-9]+)_C(?P<camera>[0-9]+)_(?P<outfit>[^_./]+)(?:_[^/]*)?\.(?i:jpg)")
_FOLDERS: Final[dict[str, Split]] = {
    "train-set": "train",
    "val-set-query": "val",
    "val-set-gallery": "val",
    "test-set-query": "query",
    "test-set-gallery": "gallery",
}
_ABOUT: Final = About(
    title="DeepChange",
    what="people of a city block over a year",
    terms="non-commercial research, after signing the authors' agreement; faces must be hidden wherever they are shown",
    citation="Xu and Zhu, DeepChange, arXiv:2105.14685, 2021",
    identities=1_121,
    images=178_407,
    cameras=17,
    sizes={
        "train": Size(images=75_083, ids=450),
        "val": Size(images=22_841, ids=150),
        "query": Size(images=17_527, ids=521),
        "gallery": Size(images=62_956, ids=521),
    },
)


@dataclass(frozen=True, kw_only=True)
class DeepChange:
    """Reader of DeepChange. Cameras, tracklets and identities keep their numbers; `outfit` is set everywhere."""

    name: str = "deepchange"
    version: str = "deepchange-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all lists; UserError when a list or folder is missing, or a line cannot be understood."""
        needed = [part for folder in _FOLDERS for part in (folder, f"{folder}-bbox.txt")]
        home = find_home(root, needed, inside=("DeepChangeDataset", "DeepChange"), title=_ABOUT.title)
        crops: list[Crop] = []
        notes: list[str] = []
        for folder, split in _FOLDERS.items():
            source, found = home / f"{folder}-bbox.txt", listing(home / folder, depth=1)
            lines = read_list(source, fields=2, separator=",")
            there = [line for line in lines if line[0] in found]
            crops += [_crop(source, folder, split, name, tracklet, found[name]) for name, tracklet in there]
            notes += missing_note([name for name, _ in lines if name not in found], source.name)
            notes += unlisted_note(found, {name for name, _ in lines}, f"{folder}/")
        return finish_scan(home, sources_of(self.name, crops), notes, cure="unpack the archive again")


def _crop(source: Path, folder: str, split: Split, name: str, tracklet: str, size: int) -> Crop:
    match = _NAME.fullmatch(name)
    if match is None:
        cure = "names begin with P<identity>_C<camera>_<clothes>; unpack the archive again"
        raise UserError(f"{name!a} is not named as in DeepChange", where=str(source), cure=cure)
    return Crop(
        origin=f"{folder}/{name}",
        size=size,
        key=key_in(folder.replace("-set", ""), name),
        split=split,
        pid=int(match["pid"]),
        camid=int(match["camera"]),
        outfit=match["outfit"],
        tracklet=whole_number(tracklet, path=source),
    )
