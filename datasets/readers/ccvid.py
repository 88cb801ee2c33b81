"""CCVID: walking people on video in three sessions, with changes of clothes; 2,856 sequences of 226 people.

`train.txt`, `query.txt` and `gallery.txt` hold lines `session1/001_01<TAB>001<TAB>u0_l0_s0_c0_a0`: the folder of a
sequence, the identity and a label of the clothes. The folder is `PPP_CC`, CC the camera; cameras of session 3 are
others and count on from 12, as in CAL. Every frame becomes a crop; `tracklet` numbers the sequences in the order of
their folders and `frame` the images of one. Judge sequences, not frames: the mean feature of each tracklet.
Source: Gu et al., Clothes-Changing Person Re-identification with RGB Modality Only, CVPR 2022 (arXiv:2204.06890).
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.datasets.readers.about import About, Size
from resight.datasets.readers.crops import Crop, key_in, sources_of
from resight.datasets.readers.grammar import Named, find_home, match_names
from resight.datasets.readers.lists import missing_note, read_list, whole_number
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Split

__all__ = ["Ccvid"]

_SEQUENCE: Final = re.compile(r"session(?P<session>[123])/(?P<pid>[0-9]+)_(?P<camera>[0-9]{2})/?")
_FRAME: Final = re.compile(r"(?P<frame>[0-9]+)\.(?i:jpg|png)")
_LISTS: Final[dict[str, Split]] = {"train.txt": "train", "query.txt": "query", "gallery.txt": "gallery"}
_SESSION_3: Final = 12  # cameras of the sessions before
_ABOUT: Final = About(
    title="CCVID",
    what="video of walking people, with changes of clothes",
    terms="non-commercial research; see the authors' page",
    citation="Gu et al., Clothes-Changing Person Re-identification with RGB Modality Only, CVPR 2022",
    identities=226,
    images=347_833,
    sizes={
        "train": Size(ids=75, tracklets=948),
        "query": Size(ids=151, tracklets=834),
        "gallery": Size(ids=151, tracklets=1_074),
    },
)


@dataclass(frozen=True, kw_only=True)
class Ccvid:
    """Reader of CCVID. Cameras count from 0; identities keep their numbers; `outfit` and `tracklet` are set."""

    name: str = "ccvid"
    version: str = "ccvid-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the frames of all sequences; UserError when a list is missing or a line cannot be understood."""
        home = find_home(root, list(_LISTS), inside=("CCVID", "ccvid"), title=_ABOUT.title)
        lists = {name: read_list(home / name, fields=3) for name in _LISTS}
        folders = sorted({folder for lines in lists.values() for folder, _, _ in lines})
        numbers = {folder: number for number, folder in enumerate(folders)}
        crops: list[Crop] = []
        notes: list[str] = []
        for name, split in _LISTS.items():
            for folder, label, clothes in lists[name]:
                camera, pid = _camera(folder, home / name), whole_number(label, path=home / name)
                if (home / folder).is_dir():
                    make = partial(
                        _crop, split=split, pid=pid, camera=camera, clothes=clothes, tracklet=numbers[folder]
                    )
                    frames, others = match_names(home, folder.rstrip("/"), _FRAME, make, title=_ABOUT.title)
                    crops += frames
                    notes += others
        notes += missing_note([folder for folder in folders if not (home / folder).is_dir()], "the lists")
        return finish_scan(home, sources_of(self.name, crops), notes, cure="unpack the archive again")


def _camera(folder: str, source: Path) -> int:
    match = _SEQUENCE.fullmatch(folder)
    if match is None:
        cure = "sequences are named session1/001_01; unpack the archive again"
        raise UserError(f"{folder!a} is not named as in CCVID", where=str(source), cure=cure)
    return int(match["camera"]) - 1 + (_SESSION_3 if match["session"] == "3" else 0)


def _crop(frame: Named, split: Split, pid: int, camera: int, clothes: str, tracklet: int) -> Crop:
    return Crop(
        origin=frame.origin,
        size=frame.size,
        key=key_in(split, frame.origin),
        split=split,
        pid=pid,
        camid=camera,
        outfit=clothes,
        tracklet=tracklet,
        frame=int(frame.match["frame"]),
    )
