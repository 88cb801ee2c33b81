"""Folders of files whose names follow a grammar, and where on the disk those folders are.

Names must match in full. What does not match is never an error and never silent: it is counted in the notes, images
apart from other files.
Source: design of this project; loose patterns (one digit after `_c` reads c12 as camera 1) are a common fault.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from resight.cluster.errors import UserError
from resight.datasets.readers.scan import Found, files_below, note_files

__all__ = ["Named", "find_home", "match_names"]

_T = TypeVar("_T")


class Named(NamedTuple):
    """A file whose name was understood.

    Attributes:
        match: of its path below the folder.
        path: relative to the folder, POSIX.
        origin: relative to the home, POSIX.
        size: bytes.
    """

    match: re.Match[str]
    path: str
    origin: str
    size: int


def find_home(root: Path, needed: Sequence[str], *, inside: Sequence[str] = (), title: str) -> Path:
    """Return the folder that holds all the files and folders `needed`: `root`, or one of those usual `inside` it.

    Raises:
        UserError: when none does; it names what is missing where some of it was found.
    """
    listed = ", ".join(needed)
    cure = f"give the folder that holds {listed}"
    for home in (root, *(root / name for name in inside)):
        missing = [name for name in needed if not (home / name).exists()]
        if not missing:
            return home
        if len(missing) < len(needed):
            raise UserError(f"{missing[0]!r} is missing", where=str(home), cure=cure)
    problem = f"this is not the layout of {title}" if root.is_dir() else "there is no such folder"
    raise UserError(problem, where=str(root), cure=cure)


def match_names(
    home: Path, folder: str, grammar: re.Pattern[str], make: Callable[[Named], _T], *, title: str, depth: int = 1
) -> tuple[list[_T], list[str]]:
    """Match the files of one folder.

    Args:
        home: the folder that origins are relative to.
        folder: below it.
        grammar: must match a file's whole path below the folder.
        make: called with each file that matches.
        title: of the data set, for the notes.
        depth: levels of folders, 1 for files that lie in `folder` itself.

    Returns:
        What was made of the files understood, sorted by path, and notes about the others.
    """
    made: list[_T] = []
    strange: list[Found] = []
    for found in files_below(home / folder, depth=depth):
        match = grammar.fullmatch(found.path)
        if match is None:
            strange.append(found)
        else:
            made.append(make(Named(match, found.path, f"{folder}/{found.path}", found.size)))
    images = [found for found in strange if found.looks_like_image]
    notes = note_files(images, f"[image|images] in {folder}/ [is|are] not named as in {title}")
    return made, notes + note_files([f for f in strange if not f.looks_like_image], f"other [file|files] in {folder}/")
