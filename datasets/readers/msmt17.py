"""MSMT17: 4,101 people under fifteen cameras, indoors and outdoors, in the morning, at noon and in the afternoon.

`train/PPPP/` and `test/PPPP/` (V2, with faces blurred: `mask_train_v2/`, `mask_test_v2/`) hold
`PPPP_NNN_CC_MMDDtime_SSSS_B.jpg`, sometimes with `_ex` at the end; the third field is the camera, 01 to 15. The split
is in four lists of lines `PPPP/NAME.jpg LABEL`. Identities of query and gallery begin at 0 again and mean other people
than those of training: 10,000 is added to them. Files that no list names are left aside.
`list_val.txt` shows people of the training part. BoT and TransReID train on it too, and so does this reader; torchreid
and fast-reid do not, which gives other results: `msmt17_val` and `msmt17_v2_val` keep it apart as the split "val".
Copies without that list occur and are read without it.
Source: Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-Identification, CVPR 2018.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in, sources_of
from resight.datasets.readers.grammar import find_home
from resight.datasets.readers.lists import listing, missing_note, read_list, unlisted_note, whole_number
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Split

__all__ = ["MSMT17", "MSMT17_V2", "MSMT17_V2_VAL", "MSMT17_VAL", "Msmt17"]

_PATH: Final = re.compile(
    r"[0-9]{4}/[0-9]{4}_[0-9]{3}_(?P<camera>0[1-9]|1[0-5])_[0-9]{4}(?:morning|noon|afternoon)_(?P<frame>[0-9]{4})"
    r"_[0-9]+(?:_ex)?\.(?i:jpg)"
)
_TEST_PIDS: Final = 10_000  # added to identities of the test part, which count from 0 again
_LISTS: Final = ("list_train.txt", "list_query.txt", "list_gallery.txt")
_VAL: Final = "list_val.txt"


@dataclass(frozen=True, kw_only=True)
class Msmt17:
    """Reader of MSMT17. Cameras count from 0.

    Attributes:
        train: folder of the training part.
        test: folder of query and gallery.
        val: the split of `list_val.txt`: "train" or "val".
    """

    name: str
    train: str
    test: str
    about: About
    val: Split = "train"

    @property
    def version(self) -> str:
        """Grammar and settings."""
        return f"{self.name}-1 val={self.val}"

    def scan(self, root: Path) -> Scan:
        """Find the crops of all lists; UserError when a list or folder is missing, or a line cannot be understood."""
        needed = [self.train, self.test, *_LISTS]
        home = find_home(root, needed, inside=("MSMT17_V1", "MSMT17_V2", "MSMT17", "msmt17"), title=self.about.title)
        crops: list[Crop] = []
        notes: list[str] = [] if (home / _VAL).is_file() else [f"there is no {_VAL}: training goes without it"]
        for folder, lists in self._parts(home).items():
            found, named = listing(home / folder, depth=2), set[str]()
            for name, split in lists.items():
                lines = read_list(home / name, fields=2)
                named |= {path for path, _ in lines}
                there = [line for line in lines if line[0] in found]
                crops += [_crop(home / name, folder, split, path, label, found[path]) for path, label in there]
                notes += missing_note([path for path, _ in lines if path not in found], name)
            notes += unlisted_note(found, named, f"{folder}/")
        cure = f"{_LISTS[0]} names no file of {self.train}/"
        return finish_scan(home, sources_of(self.name, crops), notes, cure=cure)

    def _parts(self, home: Path) -> dict[str, dict[str, Split]]:
        training: dict[str, Split] = {"list_train.txt": "train"}
        if (home / _VAL).is_file():
            training[_VAL] = self.val
        return {self.train: training, self.test: {"list_query.txt": "query", "list_gallery.txt": "gallery"}}


def _crop(source: Path, folder: str, split: Split, path: str, label: str, size: int) -> Crop:
    match = _PATH.fullmatch(path)
    if match is None:
        cure = "names are 0000/0000_000_01_0303morning_0015_0.jpg; unpack the archive again"
        raise UserError(f"{path!a} is not named as in MSMT17", where=str(source), cure=cure)
    return Crop(
        origin=f"{folder}/{path}",
        size=size,
        key=key_in(split, path.partition("/")[2]),
        split=split,
        pid=whole_number(label, path=source) + (_TEST_PIDS if split in ("query", "gallery") else 0),
        camid=int(match["camera"]) - 1,
        frame=int(match["frame"]),
    )


def _about(title: str, what: str, training: dict[Split, Size]) -> About:
    return About(
        title=title,
        what=what,
        terms="research only, after signing the authors' agreement",
        citation="Wei et al., Person Transfer GAN to Bridge Domain Gap for Person Re-Identification, CVPR 2018",
        identities=4_101,
        images=126_441,
        cameras=15,
        sizes={**training, "query": Size(images=11_659, ids=3_060), "gallery": Size(images=82_161, ids=3_060)},
    )


_WHAT: Final = "people on a campus, indoors and outdoors"
_BOTH: Final[dict[Split, Size]] = {"train": Size(images=32_621, ids=1_041)}
_APART: Final[dict[Split, Size]] = {"train": Size(images=30_248, ids=1_041), "val": Size(images=2_373)}

MSMT17: Final = Msmt17(name="msmt17", train="train", test="test", about=_about("MSMT17", _WHAT, _BOTH))
MSMT17_VAL: Final = replace(
    MSMT17, name="msmt17_val", val="val", about=_about("MSMT17 (val)", "the same, validation apart", _APART)
)
MSMT17_V2: Final = Msmt17(
    name="msmt17_v2",
    train="mask_train_v2",
    test="mask_test_v2",
    about=_about("MSMT17 V2", f"{_WHAT}; faces blurred", _BOTH),
)
MSMT17_V2_VAL: Final = replace(
    MSMT17_V2, name="msmt17_v2_val", val="val", about=_about("MSMT17 V2 (val)", "the same, validation apart", _APART)
)
