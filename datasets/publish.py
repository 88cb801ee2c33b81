"""From committed shards to a data set: one index, one card, published last.

Readers trust `dataset.json` and nothing else, so this is the moment a data set begins to exist. It is idempotent: the
same plan again changes nothing, another plan is refused, because readers may have the old files mapped.
Trade-off: the whole index passes through one process; at 300 bytes a row that is a second for a million samples.
Source: design of this project; manifest-last publishing as in Apache Iceberg's snapshots.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resight.cluster.commits import Commit
from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.cluster.units import canonical_json
from resight.datasets.card import CARD_KEY, INDEX_KEY, DatasetCard, card_from_json, card_to_json
from resight.datasets.index import Index, read_rows, repeated_keys
from resight.datasets.records import SCHEMA_VERSION, Table
from resight.datasets.shards import rows_key, shard_key

__all__ = ["count_splits", "plan_of", "publish_dataset"]

_READERS: Final = 16


class _Result(Protocol):
    """What is needed of a pool's result."""

    @property
    def commits(self) -> Sequence[Commit]: ...
    @property
    def quarantined(self) -> Sequence[Any]: ...


def publish_dataset(
    storage: Storage,
    result: _Result,
    *,
    name: str,
    licence: str,
    made_by: Mapping[str, Any],
    quarantined: Iterable[Mapping[str, Any]] = (),
) -> DatasetCard:
    """Publish `index.parquet`, then `dataset.json`.

    Args:
        storage: the folder into which the pool published.
        result: what the pool made; each commit is one shard named like its unit, with its rows beside it, or has no
            files, when nothing of that shard was usable.
        name: the data set's name.
        licence: the licence of the images, in words.
        made_by: what made it; JSON values without dates or paths of this machine.
        quarantined: members left out, beside those the commits list under the fact "quarantined".

    Raises:
        UserError: when units are missing, when a key occurs twice, or when another data set is already published here.
    """
    _complete(result, storage)
    plan = plan_of(result.commits)
    settled = _settled(storage, plan, name, licence) if storage.exists(CARD_KEY) else None
    if settled is not None and _index_is_whole(storage, settled):
        return settled
    shards = [commit for commit in result.commits if commit.files]
    table = _gather(storage, shards)
    data = _parquet(table)
    storage.publish(data, INDEX_KEY)
    if settled is not None:
        return settled
    left_out = [*quarantined, *(member for c in result.commits for member in c.facts.get("quarantined", ()))]
    card = DatasetCard(
        name=name,
        licence=licence,
        plan=plan,
        counts=count_splits(Index(table)),
        shards=_shards(shards, table),
        index={"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "rows": table.num_rows},
        made_by=made_by,
        quarantined=tuple(left_out),
    )
    storage.publish(card_to_json(card), CARD_KEY)
    return card


def plan_of(commits: Sequence[Commit]) -> str:
    """Return the hash of the plan behind some commits: their units' names and specification hashes, in order."""
    return hashlib.sha256(canonical_json([[c.name, c.spec_hash] for c in commits]).encode()).hexdigest()


def count_splits(index: Index) -> dict[str, dict[str, int]]:
    """Count per split: images (all rows), ids (people only), cameras, outfits, distractors, junk."""
    return {split: _count(index, index.select(split=split)) for split in index.splits}


def _count(index: Index, rows: np.ndarray) -> dict[str, int]:
    role = index.role[rows]
    person = rows[role == "person"]
    return {
        "images": len(rows),
        "ids": _distinct(index.pid[person]),
        "cameras": _distinct(index.camid[rows]),
        "outfits": _distinct(index.outfit[person]),
        "distractors": int((role == "distractor").sum()),
        "junk": int((role == "junk").sum()),
    }


def _distinct(values: np.ndarray) -> int:
    return len(np.unique(values[values >= 0]))


def _complete(result: _Result, storage: Storage) -> None:
    if result.quarantined:
        first = result.quarantined[0]
        raise UserError(
            f"{len(result.quarantined)} shards could not be made, the first is {first.name}: {first.reason}",
            where=storage.url,
            cure="mend the cause and start the same command again; finished shards are kept",
        )
    if not any(commit.files for commit in result.commits):
        raise UserError("there are no shards to publish", where=storage.url, cure="check the input")


def _settled(storage: Storage, plan: str, name: str, licence: str) -> DatasetCard:
    """Return the card that is there already, if it is this one."""
    card = card_from_json(storage.read(CARD_KEY), where=f"{storage.url}/{CARD_KEY}")
    asked, there = (plan, name, licence), (card.plan, card.name, card.licence)
    if asked == there:
        return card
    names = ("content", "name", "licence")
    other = ", ".join(what for what, a, b in zip(names, asked, there, strict=True) if a != b)
    problem = f"a data set with other {other} is already published here ({card.name!r})"
    raise UserError(problem, where=storage.url, cure="choose another folder, or delete this one")


def _index_is_whole(storage: Storage, card: DatasetCard) -> bool:
    """Tell whether the published index is the one the card names; one that a disk lost is made again from its rows."""
    if not storage.exists(INDEX_KEY):
        return False
    return hashlib.sha256(storage.read(INDEX_KEY)).hexdigest() == card.index["sha256"]


def _gather(storage: Storage, commits: Sequence[Commit]) -> Table:
    with ThreadPoolExecutor(_READERS) as readers:  # on S3 each shard's rows take a while to come
        paths = readers.map(lambda commit: storage.local(rows_key(commit.name)), commits)
        table = pa.concat_tables(map(read_rows, paths)).unify_dictionaries()
    if twice := repeated_keys(table):
        cure = "keys must be unique over all shards of a data set"
        raise UserError(f"sample key {twice[0]!r} occurs in several shards", where=storage.url, cure=cure)
    return table


def _parquet(table: Table) -> bytes:
    sink = pa.BufferOutputStream()
    marked = table.replace_schema_metadata({"resight_schema": str(SCHEMA_VERSION)})
    pq.write_table(marked, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _shards(commits: Sequence[Commit], table: Table) -> dict[str, dict[str, Any]]:
    names, samples = np.unique(Index(table).shard, return_counts=True)
    held = dict(zip(names.tolist(), samples.tolist(), strict=True))
    files = {c.name: c.files[shard_key(c.name)] for c in commits}
    return {name: {"sha256": f.sha256, "size": f.size, "samples": held[name]} for name, f in files.items()}
