"""Data sets in which a folder is a split and a file's name says the rest: most of them.

The commonest tree is the one that Market-1501 began: `bounding_box_train/`, `query/` and `bounding_box_test/`.
Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015; `readme.txt` of the archive.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.datasets.readers.crops import Crop, key_in, sources_of
from resight.datasets.readers.grammar import Named, find_home, match_names
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Role, Split

__all__ = ["MARKET_FOLDERS", "SplitFolders", "labelled"]

MARKET_FOLDERS: Final[Mapping[str, Split]] = {
    "bounding_box_train": "train",
    "query": "query",
    "bounding_box_test": "gallery",
}


def labelled(file: Named, split: Split, role: Role = "person") -> Crop:
    """Return the crop that the grammar's groups say: pid, camera (from 1; `camid` is from 0), frame, maybe outfit."""
    said = file.match.groupdict()
    return Crop(
        origin=file.origin,
        size=file.size,
        key=key_in(split, file.path),
        split=split,
        pid=int(said["pid"]),
        camid=int(said["camera"]) - 1,
        outfit=said.get("outfit", ""),
        frame=int(said["frame"]),
        role=role,
    )


@dataclass(frozen=True, kw_only=True)
class SplitFolders:
    """A tree of one folder a split.

    Attributes:
        title: the data set's name for people.
        folders: folder -> split.
        grammar: of a file's path below its folder.
        example: a name as it should be, for messages.
        understand: makes a crop of a file whose name matched.
        inside: usual names of the folder that holds the folders, looked for inside the root.
        depth: levels of folders below each.
    """

    title: str
    folders: Mapping[str, Split]
    grammar: re.Pattern[str]
    example: str
    understand: Callable[[Named, Split], Crop] = labelled
    inside: Sequence[str] = ()
    depth: int = 1

    def home(self, root: Path) -> Path:
        """Return the folder that holds all the folders; UserError when one is missing."""
        return find_home(root, list(self.folders), inside=self.inside, title=self.title)

    def read(self, home: Path) -> tuple[list[Crop], list[str]]:
        """Return the crops, and notes about files that are none."""
        crops: list[Crop] = []
        notes: list[str] = []
        for folder, split in self.folders.items():
            made, others = match_names(
                home, folder, self.grammar, self._maker(split), title=self.title, depth=self.depth
            )
            crops += made
            notes += others
        return crops, notes

    def _maker(self, split: Split) -> Callable[[Named], Crop]:
        return lambda file: self.understand(file, split)

    def finish(self, home: Path, dataset: str, crops: Sequence[Crop], notes: Sequence[str]) -> Scan:
        """Return the scan; UserError when there is nothing to train on."""
        listed = ", ".join(f"{folder}/" for folder in self.folders)
        cure = f"give the folder that holds {listed}, with names such as {self.example}"
        return finish_scan(home, sources_of(dataset, crops), notes, cure=cure)

    def scan(self, root: Path, dataset: str) -> Scan:
        """Return the whole scan of a data set that is nothing but these folders."""
        home = self.home(root)
        return self.finish(home, dataset, *self.read(home))
