"""Your own crops, from a folder of names or from a CSV list.

A folder is read by its names, which may stand below a folder called `train`, `val`, `query` or `gallery`:

    [SPLIT/]PID_CAM_ANYTHING.jpg      0007_c3_000451.jpg, anna_2_x.png, 0002_c1s1_000451_03.jpg
    [SPLIT/]PID/CAM/ANYTHING.jpg      0007/c3/000451.jpg, anna/door/x.png

PID is letters, digits and `-` (-1: unlabelled); CAM is a number, with or without a `c` before it and a sequence `s1`
after it, or in the nested form any word like PID. There must be a camera: without one, `PID/x.jpg` and
`images/PID_x.jpg` could not be told apart.
A CSV can do without: its header has `pid` and `path` (relative to the CSV), and may have `camid`, `outfit`, `split`.
Without splits, half of the people (by a hash of their name, whoever else is there) are set aside for testing: of those,
the first image under each camera is a query and the rest are the gallery.
Source: design of this project; the shares follow Market-1501 (751 people for training, 750 for testing).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About
from resight.datasets.readers.rows import Row, records_of
from resight.datasets.readers.scan import Found, Scan, files_below, finish_scan, note_files
from resight.datasets.readers.table import read_csv

__all__ = ["Folder"]

_SPLITS: Final = ("train", "val", "query", "gallery")
_FLAT: Final = re.compile(r"([A-Za-z0-9-]+)_(c?[0-9]+)(?:s[0-9]+)?(?:_[^/]*)?\.[A-Za-z]+")
_NESTED: Final = re.compile(r"([A-Za-z0-9-]+)/([A-Za-z0-9-]+)/[^/]+\.[A-Za-z]+")
_CURE: Final = (
    "name files PID_CAM_ANYTHING.jpg, or PID/CAM/ANYTHING.jpg, or give a CSV with the columns pid, camid, path"
)
_ABOUT: Final = About(
    title="own crops", what="a folder of names, or a CSV list", terms="not stated", citation="none: it is yours"
)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Reader of a folder or CSV of one's own.

    Attributes:
        test_share: share of the people set aside for query and gallery when there are no splits, in (0, 1).
    """

    test_share: float = 0.5
    name: str = "folder"
    about: About = _ABOUT

    @property
    def version(self) -> str:
        """Grammar and settings."""
        return f"folder-1 test_share={self.test_share:g}"

    def scan(self, root: Path) -> Scan:
        """Find the crops below a folder, or those listed in a CSV.

        Raises:
            UserError: for rows or names that cannot be, or when there is nobody to train on.
        """
        if root.is_file():
            home, (rows, notes) = root.parent, read_csv(root)
        elif root.is_dir():
            home, (rows, notes) = root, _read_names(root)
            if not rows:
                seen = f": {'; '.join(notes)}" if notes else ""
                raise UserError(f"this folder holds no crops{seen}", where=str(root), cure=_CURE)
        else:
            raise UserError("there is no such folder or CSV file", where=str(root), cure="check the path")
        sources, names = records_of(rows, test_share=self.test_share, where=str(root))
        cure = _CURE if any(row.split is None for row in rows) else "give the crops to train on the split 'train'"
        return finish_scan(home, sources, notes, cure=cure, names=names)


def _read_names(root: Path) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    strange: list[Found] = []
    for found in files_below(root, depth=4):
        row = _row(found) if found.looks_like_image else None
        if row is None:
            strange.append(found)
        else:
            rows.append(row)
    images = [found for found in strange if found.looks_like_image]
    notes = note_files(images, "[image has a name that says|images have names that say] no identity")
    return rows, notes + note_files([f for f in strange if not f.looks_like_image], "other [file|files]")


def _row(found: Found) -> Row | None:
    first, _, rest = found.path.partition("/")
    split, path = (first, rest) if rest and first in _SPLITS else (None, found.path)
    match = _FLAT.fullmatch(path) or _NESTED.fullmatch(path)
    if match is None or not _is_text(found.path):
        return None
    pid, camera = match.groups()
    return Row(path=found.path, size=found.size, pid="" if pid == "-1" else pid, camera=_camera(camera), split=split)


def _camera(name: str) -> str:
    """Return "3" for "c3" and "03" alike; other names stay as they are."""
    digits = re.fullmatch(r"c?([0-9]+)", name)
    return str(int(digits[1])) if digits else name


def _is_text(path: str) -> bool:
    """Tell whether a file's name is valid text (Linux allows any bytes); the index can hold no other."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
