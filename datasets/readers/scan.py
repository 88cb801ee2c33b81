"""What a reader finds: files and what their names say, in an order that depends on nothing but the names.

The order of a directory listing differs between file systems, so everything is sorted by name before it is used.
Files that do not belong are never an error in themselves (archives hold `Thumbs.db` and notes) but never silent either:
each reader counts them and says so in the scan's notes.
Source: design of this project; the traps are those seen in the published archives of Market-1501 and its kin.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from resight.cluster.errors import UserError
from resight.cluster.words import counted
from resight.datasets.readers.about import About
from resight.datasets.readers.pictures import Files, Pictures
from resight.datasets.records import Record

__all__ = ["IMAGE_SUFFIXES", "Found", "Reader", "Scan", "Source", "files_below", "finish_scan", "note_files"]

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
"""What looks like an image by its name, in lower case; packing takes JPEG and PNG."""

_LITTER: Final = {"thumbs.db", "desktop.ini", ".ds_store"}
_SPLITS: Final = {"train": 0, "val": 1, "query": 2, "gallery": 3}


class Source(NamedTuple):
    """One crop that a reader found.

    Attributes:
        record: what its name or list says; `origin` is its path below the scan's root.
        size: bytes of the file.
    """

    record: Record
    size: int


@dataclass(frozen=True, kw_only=True)
class Scan:
    """All that a reader found.

    Attributes:
        root: the folder that every `origin` is relative to.
        sources: sorted by split (train, val, query, gallery), then key; keys are unique.
        notes: what was left aside and why, in sentences.
        names: "identities" and "cameras" -> the names behind the numbers, position = number, where they had names.
        converted: where the images come from when they are not files to be copied.
    """

    root: Path
    sources: Sequence[Source]
    notes: tuple[str, ...] = ()
    names: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    converted: Pictures | None = None

    @property
    def pictures(self) -> Pictures:
        """Where the images come from."""
        return self.converted or Files(self.root)


class Reader(Protocol):
    """Knows one layout."""

    @property
    def name(self) -> str:
        """Its name in `READERS`."""
        ...

    @property
    def about(self) -> About:
        """What is published about the data set."""
        ...

    @property
    def version(self) -> str:
        """Settings and grammar, in one line: part of how a data set was made."""
        ...

    def scan(self, root: Path) -> Scan:
        """Find every crop below `root`.

        Raises:
            UserError: when this is not the layout, or there is nothing to train on.
        """
        ...


class Found(NamedTuple):
    """A file below a folder: path relative to it (POSIX), and size in bytes."""

    path: str
    size: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def looks_like_image(self) -> bool:
        """Whether the suffix, in any case, is that of an image."""
        return self.path.lower().endswith(IMAGE_SUFFIXES)


def files_below(folder: Path, *, depth: int = 1) -> list[Found]:
    """List files at most `depth` levels down, sorted by path, without litter (`Thumbs.db`, `._x`, hidden files)."""
    return sorted(_walk(folder, "", depth), key=itemgetter(0))


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[Found]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.lower() in _LITTER:
                continue
            if entry.is_file():
                yield Found(prefix + name, entry.stat().st_size)
            elif depth > 1 and entry.is_dir():
                yield from _walk(folder / name, f"{prefix}{name}/", depth - 1)


def note_files(files: Sequence[Found], what: str) -> list[str]:
    """Return one sentence about files left aside, with up to three examples; none when there are none.

    Args:
        files: what is left aside.
        what: the sentence, as `counted` takes it.
    """
    if not files:
        return []
    examples = ", ".join(repr(found.path) for found in files[:3])
    return [f"{counted(len(files), what)}, e.g. {examples}"]


def finish_scan(
    root: Path,
    sources: Iterable[Source],
    notes: Iterable[str],
    *,
    cure: str,
    names: dict[str, tuple[str, ...]] | None = None,
    converted: Pictures | None = None,
) -> Scan:
    """Sort, and check what every layout must satisfy.

    Raises:
        UserError: when two files have the same key, or the train split is empty (`cure` says what was expected).
    """
    ordered = sorted(sources, key=lambda s: (_SPLITS[s.record.split], s.record.key))
    notes = tuple(notes)
    twice = [key for key, count in Counter(s.record.key for s in ordered).items() if count > 1]
    if twice:
        files = ", ".join(repr(s.record.origin) for s in ordered if s.record.key == twice[0])
        raise UserError(f"files would have the same key {twice[0]!r}: {files}", where=str(root), cure="rename one")
    if not any(s.record.split == "train" and s.record.role == "person" for s in ordered):
        seen = f" ({'; '.join(notes)})" if notes else ""
        raise UserError(f"the train split is empty{seen}", where=str(root), cure=cure)
    return Scan(root=root, sources=tuple(ordered), notes=notes, names=names or {}, converted=converted)
