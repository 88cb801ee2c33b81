"""Text lists that say which files belong to which split: one item a line, fields between blanks, tabs or commas.

The lists decide, not the folders: a file that no list names is left aside, a name without a file is left out, and both
are counted in the notes. Blank lines and Windows' line ends are common.
Source: design of this project; the formats are those of MSMT17, DeepChange, CCVID and VehicleID.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from resight.cluster.errors import UserError
from resight.datasets.readers.scan import Found, files_below, note_files

__all__ = ["listing", "missing_note", "read_list", "unlisted_note", "whole_number"]


def read_list(path: Path, *, fields: int, separator: str | None = None) -> list[tuple[str, ...]]:
    """Return the fields of every line that is not blank.

    Args:
        path: the list.
        fields: how many each line must have.
        separator: between them; None for blanks and tabs.

    Raises:
        UserError: naming the line that has more or fewer, or a list that is missing or no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("the list is not UTF-8 text", where=str(path), cure="unpack the archive again") from error
    except OSError as error:
        raise UserError(f"the list cannot be read: {error.strerror}", where=str(path), cure="check the path") from error
    items: list[tuple[str, ...]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = tuple(part.strip() for part in line.split(separator))
        if not any(parts):
            continue
        if len(parts) != fields:
            problem = f"{len(parts)} fields instead of {fields}: {line[:80]!a}"
            raise UserError(problem, where=f"{path}, line {number}", cure="unpack the archive again")
        items.append(parts)
    return items


def whole_number(text: str, *, path: Path) -> int:
    """Return a label as a number; UserError when it is none."""
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{text!a} is not a whole number", where=str(path), cure="unpack the archive again")
    return int(text)


def listing(folder: Path, *, depth: int) -> dict[str, int]:
    """Return path below the folder -> bytes for every file, listed once: looking each one up takes far longer."""
    return {found.path: found.size for found in files_below(folder, depth=depth)}


def missing_note(names: Iterable[str], what: str) -> list[str]:
    """Return a sentence about names in a list that have no file."""
    return note_files([Found(path=name, size=0) for name in names], f"[file|files] named in {what} [is|are] not there")


def unlisted_note(found: Mapping[str, int], named: set[str], what: str) -> list[str]:
    """Return a sentence about files that no list names."""
    others = [Found(path=name, size=size) for name, size in found.items() if name not in named]
    return note_files(
        [file for file in others if file.looks_like_image], f"[image|images] in {what} [is|are] in no list"
    )
