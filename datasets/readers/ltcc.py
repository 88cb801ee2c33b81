"""LTCC: 152 people who change their clothes, under twelve cameras of an office building.

`train/`, `query/` and `test/` (the gallery) hold `PPP_O_cC_FFFFFF.png`: identity, outfit of that identity, camera 1 to
12 (one or two digits), frame. The outfit comes before the camera; a reader was seen that had the two swapped.
`info/` lists who changes clothes, which the outfits say as well, and is not read.
Protocols: standard drops what shares the query's camera; cloth-changing drops what shares its camera or its outfit.
Source: Qian et al., Long-Term Cloth-Changing Person Re-identification, ACCV 2020; the union of the two rules follows
Gu et al. 2022 (CAL, arXiv:2204.06890).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.scan import Scan
from resight.datasets.readers.split_folders import SplitFolders

__all__ = ["Ltcc"]

_NAME: Final = re.compile(
    r"(?P<pid>[0-9]{3})_(?P<outfit>[0-9]+)_c(?P<camera>[1-9]|1[0-2])_(?P<frame>[0-9]{6})\.(?i:png)"
)
_ABOUT: Final = About(
    title="LTCC",
    what="people in an office building, with changes of clothes",
    terms="non-commercial research, after signing the authors' agreement",
    citation="Qian et al., Long-Term Cloth-Changing Person Re-identification, ACCV 2020",
    identities=152,
    images=17_119,
    cameras=12,
    sizes={
        "train": Size(images=9_576, ids=77),
        "query": Size(images=493, ids=75),
        "gallery": Size(images=7_050, ids=75),
    },
)


@dataclass(frozen=True, kw_only=True)
class Ltcc:
    """Reader of LTCC. Cameras count from 0; identities keep their numbers; `outfit` is set everywhere."""

    name: str = "ltcc"
    version: str = "ltcc-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders; UserError when one is missing or nobody can be trained."""
        return _TREE.scan(root, self.name)


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders={"train": "train", "query": "query", "test": "gallery"},
    grammar=_NAME,
    example="094_1_c9_015923.png",
    inside=("LTCC_ReID", "LTCC", "ltcc"),
)
