"""RandPerson: 8,000 random characters of a game engine, for training only.

One folder, `randperson_subset/` (in some archives within another of that name), holds `PPPPPP_cCC_sSS_fFFFFFF.jpg`:
identity, camera, scene, frame; later archives write the scene first, `PPPPPP_sSS_cCC_fFFFFFF.jpg`. Cameras count from 0
in every scene anew, so the camera alone means nothing: the number here is the first of its scene plus it.
Source: Wang et al., Surpassing Real-World Source Training Data: Random 3D Characters for Generalizable Person
Re-Identification, ACM Multimedia 2020, and the authors' page; first cameras of the scenes as in the authors' QAConv.
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

__all__ = ["RandPerson"]

_NAME: Final = re.compile(
    r"(?:randperson_subset/)?(?P<pid>[0-9]{6})_(?:c(?P<camera>[0-9]{2})_s(?P<scene>0[0-9]|10)|s(?P<scene2>0[0-9]|10)_c(?P<camera2>[0-9]{2}))"
    r"_f(?P<frame>[0-9]{6,})\.(?i:jpg)"
)
_FIRST_CAMERA: Final = (0, 2, 4, 6, 8, 9, 10, 12, 13, 14, 15)  # of each scene
_ABOUT: Final = About(
    title="RandPerson",
    what="rendered characters, for training only",
    terms="see the authors' page; rendered, so nobody real is shown",
    citation="Wang et al., Surpassing Real-World Source Training Data, ACM Multimedia 2020",
    identities=8_000,
)


@dataclass(frozen=True, kw_only=True)
class RandPerson:
    """Reader of RandPerson. Everything is in the train split; identities keep their numbers."""

    name: str = "randperson"
    version: str = "randperson-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops; UserError when the folder is missing or holds none."""
        return _TREE.scan(root, self.name)


def _crop(file: Named, split: Split) -> Crop:
    match = file.match
    scene, camera = int(match["scene"] or match["scene2"]), int(match["camera"] or match["camera2"])
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key_in(split, file.path.rpartition("/")[2]),
        split=split,
        pid=int(match["pid"]),
        camid=_FIRST_CAMERA[scene] + camera,
        frame=int(match["frame"]),
    )


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={"randperson_subset": "train"},
    grammar=_NAME,
    understand=_crop,
    example="000000_c00_s00_f000264.jpg",
    inside=("randperson", "RandPerson"),
    depth=2,
)
