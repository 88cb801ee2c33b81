"""PRCC: 221 people under three cameras; in A and B they wear the same clothes, in C others.

`rgb/train/PPP/` and `rgb/val/PPP/` hold `A_cropped_rgb001.jpg` (A, B or C is the camera); `rgb/test/A|B|C/PPP/` hold
`cropped_rgb001.jpg`. Test folder A is the gallery, B and C are queries. Validation shows the same 150 people as
training. Identities of the test part are other people. Stray files beside the folders of people are left aside.
Two results, never one: queries of B (`camid` 1, the gallery's clothes) and of C (`camid` 2, other clothes). The paper
ranks one random image of each person of A, ten times; CAL and its followers rank all of A: say which.
Source: Yang et al., Person Re-identification by Contour Sketch under Moderate Clothing Change, TPAMI 2019.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in
from resight.datasets.readers.grammar import Named
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import SplitFolders
from resight.datasets.records import Split

__all__ = ["Prcc"]

_TRAIN: Final = re.compile(r"(?P<pid>[0-9]{3})/(?P<camera>[ABC])_cropped_rgb(?P<frame>[0-9]{3,})\.(?i:jpg)")
_TEST: Final = re.compile(r"(?P<pid>[0-9]{3})/cropped_rgb(?P<frame>[0-9]{3,})\.(?i:jpg)")
_CAMERAS: Final = {"A": 0, "B": 1, "C": 2}
_ABOUT: Final = About(
    title="PRCC",
    what="people in three rooms, with changes of clothes",
    terms="research use only; see the authors' page",
    citation="Yang et al., Person Re-identification by Contour Sketch under Moderate Clothing Change, TPAMI 2019",
    identities=221,
    images=33_698,
    cameras=3,
    sizes={
        "train": Size(images=17_896, ids=150),
        "val": Size(images=5_002, ids=150),
        "query": Size(images=7_416, ids=71),
        "gallery": Size(images=3_384, ids=71),
    },
)


@dataclass(frozen=True, kw_only=True)
class Prcc:
    """Reader of PRCC's photographs. Cameras A, B, C are 0, 1, 2; identities keep their numbers; `outfit` is set."""

    name: str = "prcc"
    version: str = "prcc-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all parts; UserError when a folder is missing or nobody can be trained."""
        home = _TREE.home(root)
        train, notes = _TREE.read(home)
        test, more = _TEST_TREE.read(home)
        return _TREE.finish(home, self.name, train + test, notes + more)


def _train_crop(file: Named, split: Split) -> Crop:
    return _crop(file, split, file.match["camera"], key_in(split, file.path))


def _test_crop(file: Named, split: Split) -> Crop:
    camera = file.origin.split("/")[1]
    return _crop(file, split, camera, key_in(f"{split}_{camera}", file.path))


def _crop(file: Named, split: Split, camera: str, key: str) -> Crop:
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key,
        split=split,
        pid=int(file.match["pid"]),
        camid=_CAMERAS[camera],
        outfit="C" if camera == "C" else "AB",
        frame=int(file.match["frame"]),
    )


_TEST_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={"test/A": "gallery", "test/B": "query", "test/C": "query"},
    grammar=_TEST,
    understand=_test_crop,
    example="test/A/005/cropped_rgb001.jpg",
    depth=2,
)
_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={"train": "train", "val": "val"},
    grammar=_TRAIN,
    understand=_train_crop,
    example="001/A_cropped_rgb001.jpg",
    inside=("rgb", "prcc/rgb", "PRCC/rgb"),
    depth=2,
)
