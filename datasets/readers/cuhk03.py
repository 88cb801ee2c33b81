"""CUHK03-NP: 1,467 people under pairs of cameras of a campus; boxes drawn by hand or by a detector.

The new protocol in folders: `detected/` and `labeled/`, each with `bounding_box_train/`, `query/` and
`bounding_box_test/`, names `PPPP_cC_N.png`: identity, camera 1 or 2, and the image's number in the official list,
counted from 1 over both cameras. Where there are no such folders but the original `cuhk-03.mat`, that file and the
official `cuhk03_new_protocol_config_*.mat` are read instead (`cuhk03_mat.py`): keys, labels and pixels are the same.
Source: Li et al., DeepReID, CVPR 2014 (images); Zhong et al., Re-ranking Person Re-identification with k-reciprocal
Encoding, CVPR 2017 (the protocol).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.cuhk03_mat import find_mats, scan_mats
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import MARKET_FOLDERS, SplitFolders

__all__ = ["CUHK03_DETECTED", "CUHK03_LABELED", "Cuhk03"]

_NAME: Final = re.compile(r"(?P<pid>[0-9]{4})_c(?P<camera>[12])_(?P<frame>[0-9]+)\.(?i:png|jpg)")


@dataclass(frozen=True, kw_only=True)
class Cuhk03:
    """Reader of one kind of CUHK03-NP. Cameras count from 0; `frame` is the number in the list.

    Attributes:
        kind: whose boxes.
    """

    kind: Literal["detected", "labeled"]
    about: About

    @property
    def name(self) -> str:
        """cuhk03_detected or cuhk03_labeled."""
        return f"cuhk03_{self.kind}"

    @property
    def version(self) -> str:
        """Grammar."""
        return f"{self.name}-1"

    def scan(self, root: Path) -> Scan:
        """Find the crops in folders, else in the original files.

        Raises:
            UserError: when there is neither, or `cuhk-03.mat` is there but h5py is not installed.
        """
        tree = SplitFolders(
            title=self.about.title,
            folders=MARKET_FOLDERS,
            grammar=_NAME,
            example="0001_c1_1.png",
            inside=("", self.kind, f"cuhk03-np/{self.kind}", f"cuhk03_np/{self.kind}", f"CUHK03-NP/{self.kind}"),
        )
        mats = find_mats(root, self.kind)
        if mats is not None and not any(
            (root / place / folder).is_dir() for place in tree.inside for folder in tree.folders
        ):
            return scan_mats(*mats, kind=self.kind, dataset=self.name)
        return tree.scan(root, self.name)


def _about(kind: str, train: int, gallery: int) -> About:
    return About(
        title=f"CUHK03-NP ({kind})",
        what=f"people on a campus, boxes {kind}",
        terms="research use only, on request from the authors",
        citation="Li et al., DeepReID, CVPR 2014; Zhong et al., Re-ranking Person Re-identification, CVPR 2017",
        identities=1_467,
        images=train + 1_400 + gallery,
        cameras=2,
        sizes={
            "train": Size(images=train, ids=767),
            "query": Size(images=1_400, ids=700),
            "gallery": Size(images=gallery, ids=700),
        },
    )


CUHK03_DETECTED: Final = Cuhk03(kind="detected", about=_about("detected", 7_365, 5_332))
CUHK03_LABELED: Final = Cuhk03(kind="labeled", about=_about("labeled", 7_368, 5_328))
