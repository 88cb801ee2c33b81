"""VC-Clothes: 512 people of a video game, in several outfits, under four cameras.

`train/`, `query/` and `gallery/` hold `PPPP-C-O-N.jpg`: identity, camera 1 to 4, outfit of that identity, number.
Protocols choose cameras on both sides: all; 2 and 3 (`camid` 1 and 2: the same clothes); 3 and 4 (`camid` 2 and 3:
other clothes).
Source: Wan et al., When Person Re-identification Meets Changing Clothes, CVPR Workshops 2020.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import SplitFolders

__all__ = ["VcClothes"]

_NAME: Final = re.compile(r"(?P<pid>[0-9]+)-(?P<camera>[1-4])-(?P<outfit>[0-9]+)-(?P<frame>[0-9]+)\.(?i:jpg)")
_ABOUT: Final = About(
    title="VC-Clothes",
    what="people of a video game, with changes of clothes",
    terms="research use; see the authors' page; rendered, so nobody real is shown",
    citation="Wan et al., When Person Re-identification Meets Changing Clothes, CVPR Workshops 2020",
    identities=512,
    images=19_060,
    cameras=4,
    sizes={
        "train": Size(images=9_449, ids=256),
        "query": Size(images=1_020, ids=256),
        "gallery": Size(images=8_591, ids=256),
    },
)


@dataclass(frozen=True, kw_only=True)
class VcClothes:
    """Reader of VC-Clothes. Cameras count from 0; identities keep their numbers; `outfit` is set everywhere."""

    name: str = "vc_clothes"
    version: str = "vc_clothes-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders; UserError when one is missing or nobody can be trained."""
        return _TREE.scan(root, self.name)


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={"train": "train", "query": "query", "gallery": "gallery"},
    grammar=_NAME,
    example="0001-1-1-1.jpg",
    inside=("VC-Clothes", "vc-clothes", "vcclothes"),
)
