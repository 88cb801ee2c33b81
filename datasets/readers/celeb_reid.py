"""Celeb-reID and Celeb-reID-light: celebrities in the street, photographed on many days; faces blurred in two variants.

`train/`, `query/` and `gallery/` hold `P_N_Z.jpg`: person, running number of the image (two digits occur), and a number
without meaning. There are no cameras and no names for clothes: a reader that takes a digit of N for a camera drops
true matches. Numbers of people begin at 1 again in the test part and mean other people there: 10,000 is added to them.
Judge without a camera rule: every image of a person counts as a match.
Source: Huang et al., Beyond Scalar Neuron, TCSVT 2019 (Celeb-reID); Huang et al., Celebrities-ReID, IJCNN 2019 (light);
figures from the authors' page.
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

__all__ = ["CELEB_REID", "CELEB_REID_BLUR", "CELEB_REID_LIGHT", "CELEB_REID_LIGHT_BLUR", "CelebReid"]

_NAME: Final = re.compile(r"(?P<pid>[0-9]+)_(?P<number>[0-9]+)_[0-9]+\.(?i:jpg)")
_TEST_PIDS: Final = 10_000  # added to identities of the test part, which count from 1 again
_TERMS: Final = "research only; the authors forbid distribution and commercial use"
_CITATION: Final = "Huang et al., Beyond Scalar Neuron, TCSVT 2019"
_LIGHT_CITATION: Final = "Huang et al., Celebrities-ReID, IJCNN 2019"


@dataclass(frozen=True, kw_only=True)
class CelebReid:
    """Reader of one of the four. `frame` is the running number; cameras and clothes are unknown.

    Attributes:
        folder: the usual name of its folder.
    """

    name: str
    folder: str
    about: About

    @property
    def version(self) -> str:
        """Grammar."""
        return f"{self.name}-1"

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders; UserError when one is missing or nobody can be trained."""
        tree = SplitFolders(
            title=self.about.title,
            folders={"train": "train", "query": "query", "gallery": "gallery"},
            grammar=_NAME,
            understand=_crop,
            example="1_12_0.jpg",
            inside=(self.folder,),
        )
        return tree.scan(root, self.name)


def _crop(file: Named, split: Split) -> Crop:
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key_in(split, file.path),
        split=split,
        pid=int(file.match["pid"]) + (0 if split == "train" else _TEST_PIDS),
        frame=int(file.match["number"]),
    )


def _about(title: str, what: str, *, light: bool) -> About:
    if light:
        sizes = (Size(images=9_021, ids=490), Size(images=887, ids=100), Size(images=934, ids=100))
    else:
        sizes = (Size(images=20_208, ids=632), Size(images=2_972, ids=420), Size(images=11_006, ids=420))
    splits: tuple[Split, ...] = ("train", "query", "gallery")
    return About(
        title=title,
        what=what,
        terms=_TERMS,
        citation=_LIGHT_CITATION if light else _CITATION,
        identities=590 if light else 1_052,
        images=10_842 if light else 34_186,
        sizes=dict(zip(splits, sizes, strict=True)),
    )


CELEB_REID: Final = CelebReid(
    name="celeb_reid", folder="Celeb-reID", about=_about("Celeb-reID", "celebrities in the street", light=False)
)
CELEB_REID_LIGHT: Final = CelebReid(
    name="celeb_reid_light",
    folder="Celeb-reID-light",
    about=_about("Celeb-reID-light", "celebrities in the street, never twice in the same clothes", light=True),
)
CELEB_REID_BLUR: Final = CelebReid(
    name="celeb_reid_blur",
    folder="Celeb-reID-blur",
    about=_about("Celeb-reID, faces blurred", "celebrities in the street, faces blurred", light=False),
)
CELEB_REID_LIGHT_BLUR: Final = CelebReid(
    name="celeb_reid_light_blur",
    folder="Celeb-reID-light-blur",
    about=_about("Celeb-reID-light, faces blurred", "as Celeb-reID-light, faces blurred", light=True),
)
