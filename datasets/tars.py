"""Other people's WebDataset tars as a data set: scanned once, then opened like any other.

The result is an ordinary data set folder, `index.parquet` and `dataset.json`, whose shards are symbolic links to the
tars where they lie: nothing is copied, and everything that reads data sets reads these. The folder's name is a hash of
the tars' paths, sizes and times, so tars that were changed are scanned anew and never read by an old index.
Source: design of this project. Trade-off: the links point at absolute paths, so a cache does not travel with its tars;
where keys are not unique over the tars they get the shard's name in front.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, Step, silent
from resight.cluster.storage import LocalStorage
from resight.datasets.card import CARD_KEY, INDEX_KEY, DatasetCard, card_to_json
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.index import Index
from resight.datasets.publish import count_splits
from resight.datasets.records import INDEX_SCHEMA, SCHEMA_VERSION, Table
from resight.datasets.shards import shard_key
from resight.datasets.tar_scan import Scanned, scan_tar

__all__ = ["find_tars", "open_tars"]

_CACHE: Final = ".resight-index"
_FORMAT: Final = 1
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")
_MAX_TARS: Final = 1_000_000


def find_tars(text: str) -> list[Path]:
    """Return the tars that a text names, in the order of their names; "{0..9}" and "{a,b}" in the order written.

    Args:
        text: a folder with tars in it, a tar, or a pattern with braces, "*", "?" or "[".

    Raises:
        UserError: when a tar that is named is missing, none is found, or one is compressed.
    """
    found: list[Path] = []
    for name in _expanded(text):
        path = Path(os.path.abspath(os.path.expanduser(name)))
        if path.is_dir():
            found += sorted(path.glob("*.tar"))
        elif any(mark in name for mark in "*?["):
            found += sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        else:
            found.append(path)
    if missing := [path for path in found if not path.is_file()]:
        raise UserError(f"{len(missing)} tars are missing", where=str(missing[0]), cure="check the pattern")
    if wrong := [path for path in found if path.suffix != ".tar"]:
        cure = "give uncompressed tars: samples are read by their offsets"
        raise UserError(f"{wrong[0].name!r} is not a plain .tar", where=str(wrong[0]), cure=cure)
    if not found:
        raise UserError("there are no tars", where=text, cure="give a folder with *.tar in it, or a pattern")
    return found


def open_tars(
    text: str,
    *,
    cache: Path | None = None,
    max_bad_share: float = 0.01,
    threads: int = 4,
    progress: Progress = silent,
) -> Dataset:
    """Open tars as a data set of unlabelled (or, where their JSON says so, labelled) training images.

    Args:
        text: see `find_tars`.
        cache: where the index is kept; None is `.resight-index` beside the first tar.
        max_bad_share: share of the samples that may be without a usable image; such are named in `dataset.json`.
        threads: tars that are scanned at a time.
        progress: told after each tar, the first time.

    Raises:
        UserError: for tars that are missing, truncated or unsafe, too many bad samples, or a cache that cannot be
            written.
    """
    tars = find_tars(text)
    folder = (cache or tars[0].parent / _CACHE).expanduser().absolute() / _fingerprint(tars)
    if not (folder / CARD_KEY).is_file():
        _scan(tars, LocalStorage(folder), max_bad_share, threads, progress)
    return open_dataset(folder)


def _scan(tars: Sequence[Path], storage: LocalStorage, max_bad_share: float, threads: int, progress: Progress) -> None:
    names = _names(tars)
    with ThreadPoolExecutor(threads) as executor:
        scans = executor.map(lambda tar, name: scan_tar(tar, shard=name), tars, names)
        scanned = list(_told(scans, len(tars), progress))
    bad = [entry for scan in scanned for entry in scan.quarantined]
    total = len(bad) + sum(len(scan.rows) for scan in scanned)
    if len(bad) == total or len(bad) > max_bad_share * total:
        example = f", e.g. {bad[0]['key']!r} in {bad[0]['shard']}: {bad[0]['reason']}" if bad else ""
        problem = f"{len(bad)} of {total} samples have no usable image{example}"
        raise UserError(problem, where=str(tars[0].parent), cure="mend the tars, or raise max_bad_share")
    _link(tars, names, storage)
    table = _table(scanned)
    data = _parquet(table)
    storage.publish(data, INDEX_KEY)
    storage.publish(card_to_json(_card(tars, names, scanned, table, data, bad)), CARD_KEY)


def _told(scans: Iterable[Scanned], total: int, progress: Progress) -> Iterator[Scanned]:
    bad = 0
    for done, scan in enumerate(scans, start=1):
        bad += len(scan.quarantined)
        facts: dict[str, float | int | str] = {"quarantined": bad} if bad else {}
        progress(Step(task="scan tars", done=done, total=total, unit="tars", facts=facts))
        yield scan


def _link(tars: Sequence[Path], names: Sequence[str], storage: LocalStorage) -> None:
    for tar, name in zip(tars, names, strict=True):
        link = storage.root / shard_key(name)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(tar)
        except FileExistsError:  # another worker's, or left by one that was stopped: the folder's name fixes the target
            continue
        except OSError as error:
            problem = f"the index of the tars cannot be kept here: {error.strerror}"
            raise UserError(problem, where=str(link.parent), cure="give a writable folder as the cache") from error


def _table(scanned: Sequence[Scanned]) -> Table:
    rows = [row for scan in scanned for row in scan.rows]
    plain = Counter(_plain(row["key"]) for row in rows)
    unique = max(plain.values()) == 1
    keys = [_plain(row["key"]) if unique else f"{row['shard']}-{_plain(row['key'])}" for row in rows]
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        cure = "members of one sample must stand side by side, and keys differ within a tar"
        raise UserError(f"the key {twice[0]!r} occurs more than once in a tar", where=rows[0]["shard"], cure=cure)
    fixed = {"dataset": "tars", "split": "train", "role": "person"}
    whole = [{**row, **fixed, "key": key} for row, key in zip(rows, keys, strict=True)]
    return pa.Table.from_pylist(whole, schema=INDEX_SCHEMA)


def _card(
    tars: Sequence[Path],
    names: Sequence[str],
    scanned: Sequence[Scanned],
    table: Table,
    data: bytes,
    bad: Sequence[dict[str, str]],
) -> DatasetCard:
    shards = {
        name: {"sha256": scan.sha256, "size": scan.size, "samples": len(scan.rows)}
        for name, scan in zip(names, scanned, strict=True)
    }
    return DatasetCard(
        name=_plain(tars[0].parent.name) or "tars",
        licence="unknown: made by others",
        plan=hashlib.sha256(json.dumps(shards, sort_keys=True).encode()).hexdigest(),
        counts=count_splits(Index(table)),
        shards=shards,
        index={"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "rows": table.num_rows},
        made_by={"command": "scan of tars", "format": _FORMAT, "tars": [str(tar) for tar in tars]},
        quarantined=tuple(bad),
    )


def _parquet(table: Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"resight_schema": str(SCHEMA_VERSION)}), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _names(tars: Sequence[Path]) -> list[str]:
    """Return a shard name for each tar: its stem, with a number in front where two tars share one."""
    stems = [_plain(tar.stem) for tar in tars]
    return stems if len(set(stems)) == len(stems) else [f"{n:06d}-{stem}" for n, stem in enumerate(stems)]


def _plain(text: str) -> str:
    """Return a text in the letters that keys are made of."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)


def _fingerprint(tars: Sequence[Path]) -> str:
    facts: list[Any] = [[str(tar), tar.stat().st_size, tar.stat().st_mtime_ns] for tar in tars]
    return hashlib.sha256(json.dumps([_FORMAT, facts]).encode()).hexdigest()[:16]


def _expanded(text: str) -> list[str]:
    """Return what the braces of a pattern stand for: "{a,b}" and "{008..011}", not nested."""
    parts = [_choices(part) for part in re.split(r"(\{[^{}]*\})", text)]
    count = 1
    for choices in parts:
        count *= len(choices)
    if count > _MAX_TARS:
        raise UserError(f"the pattern stands for {count:,} tars", where=text, cure=f"{_MAX_TARS:,} is the limit")
    return ["".join(words) for words in product(*parts)]


def _choices(part: str) -> Sequence[str]:
    if not (part.startswith("{") and part.endswith("}")):
        return [part]
    if match := _RANGE.fullmatch(part[1:-1]):
        first, last = int(match[1]), int(match[2])
        if last - first >= _MAX_TARS:
            raise UserError(f"the pattern {part} stands for too many tars", cure=f"{_MAX_TARS:,} is the limit")
        width = len(match[1]) if match[1].startswith("0") else 0
        return [f"{number:0{width}d}" for number in range(first, last + 1)]
    return part[1:-1].split(",")
