"""From rows of names to records: numbers for people, cameras and clothes, keys, and splits when none are given.

Names that are all whole numbers keep their values; otherwise they are numbered in sorted order and the names are kept.
A person is on one side only: train and val, or query and gallery. Which side is a hash of the name alone, so adding a
person moves nobody else.
Source: design of this project; the query rule (one image a camera) is Market-1501's.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final, cast

from resight.cluster.errors import UserError
from resight.datasets.readers.scan import Source
from resight.datasets.records import Record, Split

__all__ = ["Row", "assign_splits", "key_of", "number_names", "records_of"]

_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,90}")
_NUMBER: Final = re.compile(r"0|[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One crop as its owner names things; empty means unknown, split None means not given.

    Attributes:
        path: relative to the root, POSIX.
        size: bytes of the file.
        split: train, val, query, gallery, or test (query or gallery, as the rule below decides).
        where: for messages.
    """

    path: str
    size: int
    pid: str
    camera: str = ""
    outfit: str = ""
    split: str | None = None
    where: str = ""


def records_of(
    rows: Sequence[Row], *, test_share: float, where: str
) -> tuple[list[Source], dict[str, tuple[str, ...]]]:
    """Return a source for each row, and the names behind numbers ("identities", "cameras") where there were names.

    Raises:
        UserError: when only some rows have a split, or a person is on both sides.
    """
    rows = assign_splits(rows, test_share=test_share, where=where)
    pids, people = number_names({row.pid for row in rows})
    cameras, places = number_names({row.camera for row in rows})
    worn = sorted({(pids[row.pid], row.outfit) for row in rows if row.outfit and row.pid})
    outfits = {pair: number for number, pair in enumerate(worn)}
    sources = [
        Source(
            record=Record(
                key=key_of(row.path),
                pid=pids[row.pid],
                camid=cameras[row.camera],
                outfit=outfits.get((pids[row.pid], row.outfit), -1),
                dataset="folder",
                split=cast("Split", row.split),
                origin=row.path,
            ),
            size=row.size,
        )
        for row in rows
    ]
    return sources, {what: names for what, names in (("identities", people), ("cameras", places)) if names}


def number_names(names: Collection[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Number names; "" is -1.

    Returns:
        Name -> number, and the names by number (empty when they were whole numbers and keep their values).
    """
    known = sorted(name for name in names if name)
    if all(_NUMBER.fullmatch(name) for name in known) and len({int(name) for name in known}) == len(known):
        return {"": -1} | {name: int(name) for name in known}, ()
    return {"": -1} | {name: number for number, name in enumerate(known)}, tuple(known)


def key_of(path: str) -> str:
    """Return a sample key for a path: the bare name where that is safe, else a safe form with a hash of the path."""
    stem = str(PurePosixPath(path).with_suffix(""))
    if _SAFE.fullmatch(stem):
        return stem
    mark = hashlib.blake2b(path.encode(), digest_size=6).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_-]', '-', stem.replace('/', '_'))[-70:]}-{mark}"


def assign_splits(rows: Sequence[Row], *, test_share: float, where: str) -> list[Row]:
    """Give every row a split.

    Rows without any split are divided by person; rows of split "test" are divided into query and gallery.

    Raises:
        UserError: when only some rows have a split, or a person is on both sides.
    """
    given = [row for row in rows if row.split is not None]
    if given and len(given) < len(rows):
        row = next(row for row in rows if row.split is None)
        cure = "give every crop a split, or none"
        raise UserError("some crops have a split and some have none", where=row.where or repr(row.path), cure=cure)
    if not given:
        tested = _tested({row.pid for row in rows if row.pid}, test_share, where)
        rows = [replace(row, split="test" if row.pid in tested else "train") for row in rows]
    test = [row for row in rows if row.split == "test"]
    queries = _queries(test)
    done = [
        replace(row, split="query" if row.path in queries else "gallery") if row.split == "test" else row
        for row in rows
    ]
    _check_sides(done)
    return done


def _tested(people: Collection[str], share: float, where: str) -> set[str]:
    """Return the people set aside: a hash of the name below `share`, but at least one person on each side."""
    if len(people) < 2:
        cure = "add people, or give a CSV with a split column"
        raise UserError(f"{len(people)} identities cannot be divided into train and test", where=where, cure=cure)
    draws = {name: int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest()) / 2**48 for name in people}
    order = sorted(people, key=lambda name: (draws[name], name))
    count = sum(draw < share for draw in draws.values())
    return set(order[: min(max(count, 1), len(order) - 1)])


def _queries(test: Iterable[Row]) -> set[str]:
    """Return the paths of the queries: of each person and camera the first crop by key, if there is another.

    Someone with one crop a camera gives the first camera's; someone with a single crop gives none.
    """
    groups: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(test, key=lambda row: key_of(row.path)):
        if row.pid:
            groups[row.pid][row.camera].append(row)
    queries: set[str] = set()
    for cameras in groups.values():
        chosen = [crops[0].path for crops in cameras.values() if len(crops) > 1]
        if not chosen and len(cameras) > 1:
            chosen = [cameras[min(cameras)][0].path]
        queries.update(chosen)
    return queries


def _check_sides(rows: Iterable[Row]) -> None:
    side: dict[str, str] = {}
    for row in rows:
        here = "train" if row.split in ("train", "val") else "test"
        if row.pid and side.setdefault(row.pid, here) != here:
            cure = "put all crops of a person on one side, or give people different names"
            problem = f"identity {row.pid!r} is both in train and in query or gallery"
            raise UserError(problem, where=row.where or repr(row.path), cure=cure)
