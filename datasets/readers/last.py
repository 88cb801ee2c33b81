"""LaST: 10,862 people of many films, over large distances in place and time.

`train/PID/`, `val/query/`, `val/gallery/PID/`, `test/query/` and `test/gallery/PID/` hold names whose fields are
divided by `_`: the first is the identity, the last one the clothes. Clothes are labelled in the training part only;
elsewhere that field says nothing and `outfit` stays unknown. There are no cameras: no image shares one with another.
Both validation parts become the split "val"; `origin` tells them apart.
Source: Shu et al., Large-Scale Spatio-Temporal Person Re-identification, TCSVT 2022 (arXiv:2105.15076).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About
from resight.datasets.readers.crops import Crop, key_in
from resight.datasets.readers.grammar import Named
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import SplitFolders
from resight.datasets.records import Split

__all__ = ["LaST"]

_NAME: Final = re.compile(r"(?:[^/]+/)?(?P<pid>[0-9]+)(?:_[^/_]*)*_(?P<outfit>[^/_.]+)\.(?i:jpg)")
_ABOUT: Final = About(
    title="LaST",
    what="people of films, with changes of clothes",
    terms="academic research only",
    citation="Shu et al., Large-Scale Spatio-Temporal Person Re-identification, TCSVT 2022",
    identities=10_862,
    images=228_156,
)


@dataclass(frozen=True, kw_only=True)
class LaST:
    """Reader of LaST. Identities keep their numbers; cameras are unknown."""

    name: str = "last"
    version: str = "last-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all parts; UserError when a folder is missing or nobody can be trained."""
        return _TREE.scan(root, self.name)


def _crop(file: Named, split: Split) -> Crop:
    part = file.origin.split("/")[1] if split == "val" else ""
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key_in("_".join(filter(None, (split, part))), file.path.rpartition("/")[2]),
        split=split,
        pid=int(file.match["pid"]),
        outfit=file.match["outfit"] if split == "train" else "",
    )


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={
        "train": "train",
        "val/query": "val",
        "val/gallery": "val",
        "test/query": "query",
        "test/gallery": "gallery",
    },
    grammar=_NAME,
    understand=_crop,
    example="000000/000000_00_000_1.jpg",
    inside=("last", "LaST"),
    depth=2,
)
