"""Market-1501: 1,501 people under six cameras, the layout that most later data sets copy.

`bounding_box_train/`, `query/` and `bounding_box_test/` hold `PPPP_cCsS_FFFFFF_BB.jpg`: identity, camera 1 to 6,
sequence, frame, and the number of the box (00 is drawn by hand). In the gallery, identity -1 is junk (a bad box: never
ranked) and 0000 a distractor (nobody's query: stays as a wrong answer). Neither is ever trained. Names must match in
full: a loose pattern reads "c12" as camera 1 and takes a folder called `0007_c3s1` for an identity.
Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015; `readme.txt` of the archive.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.scan import Found, Scan, Source, files_below, finish_scan, note_files
from resight.datasets.records import Record, Role, Split

__all__ = ["Market1501"]

_NAME: Final = re.compile(r"(-1|[0-9]{4})_c([1-6])s([1-6])_([0-9]{6})_([0-9]{2})\.(?i:jpg)")
_FOLDERS: Final[dict[str, Split]] = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
_USUAL_NAMES: Final = ("Market-1501-v15.09.15", "market1501", "Market-1501")
_CURE: Final = "give the folder that holds bounding_box_train/, query/ and bounding_box_test/"


@dataclass(frozen=True, kw_only=True)
class Market1501:
    """Reader of the Market-1501 layout. Cameras count from 0 (c1 is 0); identities keep their numbers."""

    name: str = "market1501"
    licence: str = "research use only; see the terms of the authors of Market-1501"
    version: str = "market1501-1"

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders.

        Args:
            root: the folder that holds them, or the one above it.

        Raises:
            UserError: when a folder is missing, or none of the names in the train folder are Market-1501's.
        """
        home = _home(root)
        sources: list[Source] = []
        notes: list[str] = []
        for folder, split in _FOLDERS.items():
            strange: list[Found] = []
            for found in files_below(home / folder):
                source = _source(found, folder, split)
                if source is None:
                    strange.append(found)
                else:
                    sources.append(source)
            images = [found for found in strange if found.looks_like_image]
            notes += note_files(images, f"[image|images] in {folder}/ [is|are] not named as in Market-1501")
            notes += note_files([f for f in strange if not f.looks_like_image], f"other [file|files] in {folder}/")
        return finish_scan(home, sources, notes, cure=f"{_CURE}, with names such as 0002_c1s1_000451_03.jpg")


def _home(root: Path) -> Path:
    for home in (root, *(root / name for name in _USUAL_NAMES)):
        if any((home / folder).is_dir() for folder in _FOLDERS):
            missing = [folder for folder in _FOLDERS if not (home / folder).is_dir()]
            if missing:
                raise UserError(f"the folder {missing[0]!r} is missing", where=str(home), cure=_CURE)
            return home
    problem = "this is not the layout of Market-1501" if root.is_dir() else "there is no such folder"
    raise UserError(problem, where=str(root), cure=_CURE)


def _source(found: Found, folder: str, split: Split) -> Source | None:
    match = _NAME.fullmatch(found.name)
    if match is None:
        return None
    pid, camera, _, frame, _ = match.groups()
    roles: dict[str, Role] = {"-1": "junk", "0000": "distractor"}
    record = Record(
        key=f"{split}_{found.name[:-4]}",
        pid=int(pid),
        camid=int(camera) - 1,
        frame=int(frame),
        dataset="market1501",
        split=split,
        role=roles.get(pid, "person"),
        origin=f"{folder}/{found.path}",
    )
    return Source(record=record, size=found.size)
