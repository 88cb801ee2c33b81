"""VIPeR: 632 people, one image each under two cameras, from 2007; small bitmaps of 128 x 48 pixels.

`cam_a/PPP_AAA.bmp` and `cam_b/PPP_AAA.bmp`: identity and view point in degrees (0 from the front, 180 from behind).
There is no official division: half of the people are for training, half for testing, drawn ten times. A split can hold
one draw only: the people whose numbers have the smaller hashes are trained on, so it is the same on every machine; a
draw is chosen by `trial`. Camera a asks, camera b answers. Bitmaps are stored as PNG: nothing is lost.
Source: Gray et al., Evaluating Appearance Models for Recognition, Reacquisition, and Tracking, PETS 2007, and the
archive's README.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About
from resight.datasets.readers.crops import Crop, key_in, sources_of
from resight.datasets.readers.grammar import Named, find_home, match_names
from resight.datasets.readers.pictures import Bitmaps
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Split

__all__ = ["Viper"]

_NAME: Final = re.compile(r"(?P<pid>[0-9]{3})_(?P<angle>[0-9]{1,3})\.(?i:bmp)")
_CAMERAS: Final[dict[str, tuple[int, Split]]] = {"cam_a": (0, "query"), "cam_b": (1, "gallery")}
_ABOUT: Final = About(
    title="VIPeR",
    what="people on a campus, one image under each of two cameras",
    terms="see the archive's README",
    citation="Gray et al., Evaluating Appearance Models for Recognition, Reacquisition, and Tracking, PETS 2007",
    identities=632,
    images=1_264,
    cameras=2,
)


@dataclass(frozen=True, kw_only=True)
class Viper:
    """Reader of VIPeR. Cameras a and b are 0 and 1; `viewid` is the angle in degrees; identities keep their numbers.

    Attributes:
        trial: which of many divisions into halves.
    """

    trial: int = 0
    name: str = "viper"
    about: About = _ABOUT

    @property
    def version(self) -> str:
        """Grammar and settings."""
        return f"viper-1 trial={self.trial}"

    def scan(self, root: Path) -> Scan:
        """Find the crops of both cameras; UserError when a folder is missing or nobody can be trained."""
        home = find_home(root, list(_CAMERAS), inside=("VIPeR", "VIPeR.v1.0", "viper/VIPeR"), title=_ABOUT.title)
        found = {folder: match_names(home, folder, _NAME, _same, title=_ABOUT.title) for folder in _CAMERAS}
        trained = self._trained({int(file.match["pid"]) for named, _ in found.values() for file in named})
        crops = [
            _crop(file, camera, "train" if int(file.match["pid"]) in trained else split)
            for folder, (camera, split) in _CAMERAS.items()
            for file in found[folder][0]
        ]
        notes = [note for _, others in found.values() for note in others]
        cure = "files in cam_a/ and cam_b/ are named 001_45.bmp"
        return finish_scan(home, sources_of(self.name, crops), notes, cure=cure, converted=Bitmaps(home))

    def _trained(self, people: set[int]) -> set[int]:
        def draw(pid: int) -> bytes:
            return hashlib.blake2b(f"{self.trial} {pid}".encode(), digest_size=8).digest()

        return set(sorted(people, key=draw)[: len(people) // 2])


def _same(file: Named) -> Named:
    """Return the file: which half it belongs to is known only when all of them are."""
    return file


def _crop(file: Named, camera: int, split: Split) -> Crop:
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key_in(f"{split}_{'ab'[camera]}", file.path),
        split=split,
        pid=int(file.match["pid"]),
        camid=camera,
        viewid=int(file.match["angle"]),
    )
