"""The card of a data set, `dataset.json`: what it holds, under which licence, how it was made, every shard's checksum.

It is published last, so a folder without it is not a data set yet. It holds no date and no path of this machine: the
same input and settings give the same card, byte for byte.
Source: design of this project; what a card should say follows Gebru et al. 2018 (arXiv:1803.09010), section 3.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from resight.cluster.errors import UserError
from resight.datasets.records import SCHEMA_VERSION

__all__ = ["CARD_KEY", "INDEX_KEY", "DatasetCard", "card_from_json", "card_to_json"]

CARD_KEY: Final = "dataset.json"
INDEX_KEY: Final = "index.parquet"


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What a data set says of itself.

    Attributes:
        name: e.g. "market1501".
        licence: the licence of the images, in words.
        plan: hash of everything that decides the bytes (units and the fingerprint of the code); the same plan means
            the same data set.
        counts: split -> {"images", "ids", "cameras", "outfits"}; ids counts known people, not distractors or junk.
        shards: shard name -> {"sha256", "size" in bytes, "samples"}, in index order.
        index: {"sha256", "size", "rows"} of `index.parquet`.
        made_by: how it was made: command, versions, settings.
        quarantined: members left out, each {"key", "reason", ...}.
        schema_version: version of the layout on disk.
    """

    name: str
    licence: str
    plan: str
    counts: Mapping[str, Mapping[str, int]]
    shards: Mapping[str, Mapping[str, Any]]
    index: Mapping[str, Any]
    made_by: Mapping[str, Any]
    quarantined: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    schema_version: int = SCHEMA_VERSION

    @property
    def sha256(self) -> str:
        """The identity of the data: a hash over the shards' names and checksums, whatever made them."""
        shards = {name: facts["sha256"] for name, facts in self.shards.items()}
        return hashlib.sha256(json.dumps(shards, sort_keys=True).encode()).hexdigest()

    @property
    def images(self) -> int:
        """Number of samples."""
        return sum(int(facts["samples"]) for facts in self.shards.values())


def card_to_json(card: DatasetCard) -> bytes:
    """Return the card as indented JSON, for eyes too."""
    return (json.dumps(asdict(card), indent=1, allow_nan=False) + "\n").encode()


def card_from_json(data: bytes, *, where: str) -> DatasetCard:
    """Read a card.

    Raises:
        UserError: for what is not a card, or one of a newer version of this program.
    """
    again = "delete this file and start the command that made the data set again: finished shards are kept"
    try:
        values: Any = json.loads(data)
    except ValueError as error:
        raise UserError(f"dataset.json is not JSON: {error}", where=where, cure=again) from error
    if not isinstance(values, dict):
        raise UserError("dataset.json is not the card of a data set", where=where, cure=again)
    version = values.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        cure = "update resight, or make the data set again with this version"
        raise UserError(
            f"schema version {version!r} is not known (newest known: {SCHEMA_VERSION})", where=where, cure=cure
        )
    known = {f.name for f in fields(DatasetCard)}
    if missing := sorted(known - values.keys()):
        raise UserError(f"dataset.json lacks {', '.join(missing)}", where=where, cure=again)
    values["quarantined"] = tuple(values["quarantined"])
    return DatasetCard(**{name: values[name] for name in known})
