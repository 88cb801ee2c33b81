"""VehicleID: vehicles before the cameras of a town, from the front and from behind; three usual sizes of the test.

`image/NNNNNNN.jpg`, and lists of lines `NNNNNNN VEHICLE` in `train_test_split/`: `train_list.txt` and
`test_list_800.txt`, `_1600`, `_2400` (and 3200, 6000, 13164). There are no camera labels.
The protocol draws one image of every test vehicle for the gallery, asks for it with all the others, and repeats that
ten times. A split can hold one draw only: the gallery here is the image of each vehicle whose name has the smallest
hash, so it is the same on every machine. Query and gallery together are the test list, for further draws.
Source: Liu et al., Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles, CVPR 2016.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in, sources_of
from resight.datasets.readers.grammar import find_home
from resight.datasets.readers.lists import listing, missing_note, read_list, whole_number
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Split

__all__ = ["VEHICLEID_800", "VEHICLEID_1600", "VEHICLEID_2400", "VehicleId"]

_NUMBER: Final = re.compile(r"[0-9]+")
_TRAIN: Final = "train_test_split/train_list.txt"


@dataclass(frozen=True, kw_only=True)
class VehicleId:
    """Reader of VehicleID. Identities keep their numbers; cameras are unknown.

    Attributes:
        vehicles: which test list.
    """

    vehicles: int
    about: About

    @property
    def name(self) -> str:
        """vehicleid_800 and so on."""
        return f"vehicleid_{self.vehicles}"

    @property
    def version(self) -> str:
        """Grammar and settings."""
        return f"{self.name}-1"

    def scan(self, root: Path) -> Scan:
        """Find the crops of the training list and one test list; UserError when one is missing."""
        test = f"train_test_split/test_list_{self.vehicles}.txt"
        needed = ["image", _TRAIN, test]
        home = find_home(root, needed, inside=("VehicleID_V1.0", "VehicleID", "vehicleid"), title=self.about.title)
        found = listing(home / "image", depth=1)
        lines = {name: _read(home / name) for name in (_TRAIN, test)}
        gallery = _gallery(lines[test])
        crops = [_crop("train", path, pid, found) for path, pid in lines[_TRAIN] if path in found]
        crops += [
            _crop("gallery" if path in gallery else "query", path, pid, found)
            for path, pid in lines[test]
            if path in found
        ]
        absent = {name: [path for path, _ in lines[name] if path not in found] for name in lines}
        notes = [note for name in absent for note in missing_note(absent[name], name)]
        return finish_scan(home, sources_of(self.name, crops), notes, cure=f"{_TRAIN} names no file of image/")


def _read(path: Path) -> list[tuple[str, int]]:
    items = read_list(path, fields=2)
    for name, _ in items:
        if not _NUMBER.fullmatch(name):
            cure = "lines are 0000001 1234; unpack the archive again"
            raise UserError(f"{name!a} is not named as in VehicleID", where=str(path), cure=cure)
    return [(f"{name}.jpg", whole_number(label, path=path)) for name, label in items]


def _gallery(lines: list[tuple[str, int]]) -> set[str]:
    """Return of each vehicle the path with the smallest hash."""
    first: dict[int, tuple[bytes, str]] = {}
    for path, pid in lines:
        draw = (hashlib.blake2b(path.encode(), digest_size=8).digest(), path)
        first[pid] = min(first.get(pid, draw), draw)
    return {path for _, path in first.values()}


def _crop(split: Split, path: str, pid: int, found: dict[str, int]) -> Crop:
    return Crop(origin=f"image/{path}", size=found[path], key=key_in(split, path), split=split, pid=pid)


def _about(vehicles: int, images: int) -> About:
    return About(
        title=f"VehicleID ({vehicles:,})",
        what=f"vehicles in a town, test list of {vehicles:,}",
        terms="research use only, on request from the authors",
        citation="Liu et al., Deep Relative Distance Learning, CVPR 2016",
        sizes={
            "train": Size(images=113_346, ids=13_164),
            "query": Size(images=images - vehicles),
            "gallery": Size(images=vehicles, ids=vehicles),
        },
    )


VEHICLEID_800: Final = VehicleId(vehicles=800, about=_about(800, 6_493))
VEHICLEID_1600: Final = VehicleId(vehicles=1600, about=_about(1600, 13_377))
VEHICLEID_2400: Final = VehicleId(vehicles=2400, about=_about(2400, 19_777))
