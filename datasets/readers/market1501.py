"""Market-1501: 1,501 people under six cameras, the layout that most later data sets copy.

`bounding_box_train/`, `query/` and `bounding_box_test/` hold `PPPP_cCsS_FFFFFF_BB.jpg`: identity, camera 1 to 6,
sequence, frame, and the number of the box (00 is drawn by hand). In the gallery, identity -1 is junk (a bad box: never
ranked) and 0000 a distractor (nobody's query: stays as a wrong answer). Neither is ever trained. Names must match in
full: a loose pattern reads "c12" as camera 1 and takes a folder called `0007_c3s1` for an identity.
The 500,000 further distractors, an archive of their own, lie in `images/` beside the three folders; `market1501_500k`
adds them to the gallery, which makes it another, harder test.
Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015; `readme.txt` of the archive.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in
from resight.datasets.readers.grammar import Named
from resight.datasets.readers.scan import Scan, files_below, note_files
from resight.datasets.readers.split_folders import MARKET_FOLDERS, SplitFolders, labelled
from resight.datasets.records import Role, Split

__all__ = ["MARKET1501", "MARKET1501_500K", "Market1501"]

_NAME: Final = re.compile(
    r"(?P<pid>-1|[0-9]{4})_c(?P<camera>[1-6])s[1-6]_(?P<frame>[0-9]{6})_(?P<box>[0-9]{2})\.(?i:jpg)"
)
_ROLES: Final[dict[str, Role]] = {"-1": "junk", "0000": "distractor"}
_MORE: Final = "images"
_ABOUT: Final = About(
    title="Market-1501",
    what="people before a supermarket",
    terms="research use only; see the terms of the authors of Market-1501",
    citation="Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015",
    identities=1501,
    images=36_036,
    cameras=6,
    sizes={
        "train": Size(images=12_936, ids=751),
        "query": Size(images=3_368, ids=750),
        "gallery": Size(images=19_732, ids=750),
    },
)


@dataclass(frozen=True, kw_only=True)
class Market1501:
    """Reader of the Market-1501 layout. Cameras count from 0 (c1 is 0); identities keep their numbers.

    Attributes:
        more_distractors: add the images of `images/` to the gallery.
    """

    more_distractors: bool = False
    name: str = "market1501"
    about: About = _ABOUT

    @property
    def version(self) -> str:
        """Grammar and settings."""
        return f"{self.name}-1"

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders.

        Args:
            root: the folder that holds them, or the one above it.

        Raises:
            UserError: when a folder is missing, or none of the names in the train folder are Market-1501's.
        """
        home = _TREE.home(root)
        crops, notes = _TREE.read(home)
        if self.more_distractors:
            more, others = _read_more(home)
            crops, notes = crops + more, notes + others
        return _TREE.finish(home, self.name, crops, notes)


def _crop(file: Named, split: Split) -> Crop:
    return labelled(file, split, _ROLES.get(file.match["pid"], "person"))


_TREE: Final = SplitFolders(
    title=_ABOUT.title,
    folders=MARKET_FOLDERS,
    grammar=_NAME,
    understand=_crop,
    example="0002_c1s1_000451_03.jpg",
    inside=("Market-1501-v15.09.15", "market1501", "Market-1501"),
)


def _read_more(home: Path) -> tuple[list[Crop], list[str]]:
    """Every image there is a distractor, whatever its name; the camera is taken from names of the usual grammar."""
    if not (home / _MORE).is_dir():
        raise UserError(f"{_MORE!r} is missing", where=str(home), cure="unpack the 500k distractors there")
    found = files_below(home / _MORE)
    matches = {file.path: _NAME.fullmatch(file.path) for file in found if file.looks_like_image}
    crops = [
        Crop(
            origin=f"{_MORE}/{file.path}",
            size=file.size,
            key=key_in("distractor", file.path),
            split="gallery",
            pid=0,
            camid=int(match["camera"]) - 1 if (match := matches[file.path]) else -1,
            role="distractor",
        )
        for file in found
        if file.path in matches
    ]
    return crops, note_files([file for file in found if file.path not in matches], f"other [file|files] in {_MORE}/")


MARKET1501: Final = Market1501()
MARKET1501_500K: Final = Market1501(
    name="market1501_500k",
    more_distractors=True,
    about=replace(
        _ABOUT,
        title="Market-1501 + 500k",
        what="the same, with half a million more distractors",
        images=536_036,
        sizes={**_ABOUT.sizes, "gallery": Size(images=519_732, ids=750)},
    ),
)
