"""PersonX: 1,266 rendered people seen from 36 directions; the subset with six backgrounds.

`bounding_box_train/`, `query/` and `bounding_box_test/`, often below `subset1/`, hold `PPPP_cC_....jpg`. The camera is
one of 3, 4, 8, 10, 11 and 12, here numbered 0 to 5 in that order: one digit after "c" is not enough. What follows the
camera is kept in the name only.
Source: Sun and Zheng, Dissecting Person Re-identification from the Viewpoint of Viewpoint, CVPR 2019; the cameras as
in OpenUnReID's reader.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in
from resight.datasets.readers.grammar import Named
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import MARKET_FOLDERS, SplitFolders
from resight.datasets.records import Split

__all__ = ["PersonX"]

_NAME: Final = re.compile(r"(?P<pid>[0-9]+)_c(?P<camera>3|4|8|10|11|12)(?:_[^/]*)?\.(?i:jpg)")
_CAMERAS: Final = {"3": 0, "4": 1, "8": 2, "10": 3, "11": 4, "12": 5}
_ABOUT: Final = About(
    title="PersonX",
    what="rendered people",
    terms="see the authors' page; rendered, so nobody real is shown",
    citation="Sun and Zheng, Dissecting Person Re-identification from the Viewpoint of Viewpoint, CVPR 2019",
    identities=1_266,
    images=45_792,
    cameras=6,
    sizes={"train": Size(images=9_840), "query": Size(images=5_136), "gallery": Size(images=30_816)},
)


@dataclass(frozen=True, kw_only=True)
class PersonX:
    """Reader of PersonX. Cameras are numbered 0 to 5; identities keep their numbers."""

    name: str = "personx"
    version: str = "personx-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders; UserError when one is missing or nobody can be trained."""
        return _TREE.scan(root, self.name)


def _crop(file: Named, split: Split) -> Crop:
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key_in(split, file.path),
        split=split,
        pid=int(file.match["pid"]),
        camid=_CAMERAS[file.match["camera"]],
    )


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders=MARKET_FOLDERS,
    grammar=_NAME,
    understand=_crop,
    example="0001_c3_0000.jpg",
    inside=("subset1", "personx/subset1", "personx"),
)
