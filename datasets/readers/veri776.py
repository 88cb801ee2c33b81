"""VeRi-776: 776 vehicles under 20 cameras of a town.

`image_train/`, `image_query/` and `image_test/` hold `VVVV_cCCC_TTTTTTTT_N.jpg`: vehicle, camera 001 to 020 (three
digits), time, number. The lists (`name_*.txt`), labels (`*_label.xml`, encoded in gb2312) and indices beside them add
nothing that the rule about the query's own camera needs, and are not read. Queries are found in `image_test/` again.
View points are unknown: the `keypoint_*.txt` that TransReID reads are not in the archive and do not list every image.
Source: Liu et al., A Deep Learning-Based Approach to Progressive Vehicle Re-identification, ECCV 2016.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import SplitFolders

__all__ = ["Veri776"]

_NAME: Final = re.compile(r"(?P<pid>[0-9]{4})_c(?P<camera>0(?:0[1-9]|1[0-9]|20))_(?P<frame>[0-9]{8})_[0-9]+\.(?i:jpg)")
_ABOUT: Final = About(
    title="VeRi-776",
    what="vehicles in a town",
    terms="research use only, on request from the authors",
    citation="Liu et al., A Deep Learning-Based Approach to Progressive Vehicle Re-identification, ECCV 2016",
    identities=776,
    images=51_035,
    cameras=20,
    sizes={
        "train": Size(images=37_778, ids=576),
        "query": Size(images=1_678, ids=200),
        "gallery": Size(images=11_579, ids=200),
    },
)


@dataclass(frozen=True, kw_only=True)
class Veri776:
    """Reader of VeRi-776. Cameras count from 0 (c001 is 0); `frame` is the time; identities keep their numbers."""

    name: str = "veri776"
    version: str = "veri776-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders; UserError when one is missing or nothing can be trained."""
        return _TREE.scan(root, self.name)


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={"image_train": "train", "image_query": "query", "image_test": "gallery"},
    grammar=_NAME,
    example="0001_c001_00016450_0.jpg",
    inside=("VeRi", "VeRi-776", "veri"),
)
