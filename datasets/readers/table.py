"""A CSV list of crops, read strictly: every complaint names its line.

Columns: `pid`, `path` (relative to the CSV, inside its folder), and optionally `camid`, `outfit`, `split`. An empty pid
or -1 is an unlabelled crop. Other columns are noted, except those that look like a misspelt one of ours.
Source: RFC 4180 through Python's csv module; UTF-8, with or without a byte-order mark (Excel writes one).
"""

import csv
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from resight.cluster.errors import UserError, did_you_mean
from resight.datasets.readers.rows import Row

__all__ = ["read_csv"]

_NEEDED: Final = ("pid", "path")
_COLUMNS: Final = ("pid", "camid", "path", "outfit", "split")
_SPLITS: Final = ("train", "val", "query", "gallery", "test")
_HEADER: Final = "the first line must be a header such as: pid,camid,path,split"


def read_csv(path: Path) -> tuple[list[Row], list[str]]:
    """Read a list of crops.

    Returns:
        The rows, in the order of the file, and notes about columns that are not used.

    Raises:
        UserError: naming the line, for whatever cannot be understood.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            notes = _check_header(lines.fieldnames or (), path)
            rows = [_row(line, path, lines.line_num) for line in lines]
    except UnicodeDecodeError as error:
        raise UserError("the CSV is not UTF-8", where=str(path), cure="save it again as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"not a CSV: {error}", where=str(path), cure=_HEADER) from error
    if not rows:
        raise UserError("the CSV has no rows", where=str(path), cure=_HEADER)
    return rows, notes


def _check_header(columns: Sequence[str], path: Path) -> list[str]:
    if missing := [name for name in _NEEDED if name not in columns]:
        raise UserError(f"the CSV has no column {missing[0]!r}", where=f"{path}, line 1", cure=_HEADER)
    others = [name for name in columns if name not in _COLUMNS]
    absent = [name for name in _COLUMNS if name not in columns]
    for name in others:
        if difflib.get_close_matches(name.lower(), absent, n=1, cutoff=0.6):
            cure = did_you_mean(name.lower(), absent)
            raise UserError(f"column {name!r} is not known", where=f"{path}, line 1", cure=cure)
    return [f"{len(others)} columns are not used: {', '.join(others)}"] if others else []


def _row(line: Mapping[Any, str | None], path: Path, number: int) -> Row:
    where = f"{path}, line {number}"
    if None in line or None in line.values():  # how DictReader tells of a field too many or too few
        raise UserError("the row has more or fewer fields than the header", where=where, cure="check commas and quotes")
    values: dict[str, str] = {name: (text or "").strip() for name, text in line.items()}
    split = values.get("split", "")
    if split and split not in _SPLITS:
        raise UserError(f"split {split!r} is not known", where=where, cure=did_you_mean(split, _SPLITS))
    return Row(
        path=values["path"],
        size=_size(path.parent, values["path"], where),
        pid="" if values["pid"] == "-1" else values["pid"],
        camera="" if values.get("camid") == "-1" else values.get("camid", ""),
        outfit="" if values.get("outfit") == "-1" else values.get("outfit", ""),
        split=split or None,
        where=where,
    )


def _size(folder: Path, path: str, where: str) -> int:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts:
        cure = "put the CSV into the folder that holds the images, and give paths relative to it, without '..'"
        raise UserError(f"path {path!r} is not inside the CSV's folder", where=where, cure=cure)
    try:
        return (folder / pure).stat().st_size
    except OSError as error:
        raise UserError(
            f"{path!r}: {error.strerror}", where=where, cure="correct the path, or remove the row"
        ) from error
