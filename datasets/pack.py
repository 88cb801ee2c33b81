"""From somebody's folder of crops to a published data set: read, check, pack, index.

Every image is decoded once here, so that training never meets a broken one; the bytes are stored as they are, never
encoded again. What cannot be decoded is left out, with its key and reason in the card; above a set share of the whole
nothing is published.
A shard's specification lists its files by path and size, and everything that goes into the JSON: hashing contents first
would read all of it twice, and a changed file nearly always changes its size. Trade-off: an image replaced by another
of exactly the same size is not noticed by a second run into the same folder; pack into a new folder then.
Source: design of this project.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import simplejpeg

from resight.cluster.commits import Commit, commit_key
from resight.cluster.errors import UserError, did_you_mean
from resight.cluster.pool import InProcess, Made, PoolBackend, Unit, run_pool
from resight.cluster.progress import Progress, silent
from resight.cluster.storage import Storage, open_storage
from resight.cluster.words import counted
from resight.datasets.card import DatasetCard
from resight.datasets.collector import uncollected
from resight.datasets.decode import MAX_PIXELS, Undecodable, check_picture
from resight.datasets.publish import publish_dataset
from resight.datasets.readers import READERS
from resight.datasets.readers.pictures import Pictures
from resight.datasets.readers.scan import Reader, Scan, Source
from resight.datasets.records import Annotations, Record, Sample
from resight.datasets.shards import MAX_BYTES, MAX_SAMPLES, SHARD_FORMAT, cut_shards, shard_files

__all__ = ["PackConfig", "PackWork", "pack", "plan_units"]

_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """How to pack.

    Attributes:
        name: the data set's name; empty for the reader's.
        licence: the terms of the images, in words; empty for the reader's.
        max_bad_share: stop when more than this share of the images cannot be decoded, in [0, 1].
        max_pixels: larger images are refused from their header.
        shard_bytes: a shard is closed before it grows beyond this.
        shard_samples: or when it holds this many.
    """

    name: str = ""
    licence: str = ""
    max_bad_share: float = 0.01
    max_pixels: int = MAX_PIXELS
    shard_bytes: int = MAX_BYTES
    shard_samples: int = MAX_SAMPLES


_DEFAULTS: Final = PackConfig()
_FIELDS: Final = tuple(field.name for field in fields(Record))
_IN_PROCESS: Final = InProcess(workers=1)
_NOTHING: Final = Annotations()


@dataclass(frozen=True)
class PackWork:
    """The pool's work: read, decode and write the images of one shard.

    Attributes:
        pictures: where the images come from (the same place on every machine that works).
        max_pixels: as in PackConfig.
    """

    pictures: Pictures
    max_pixels: int = MAX_PIXELS

    @property
    def fingerprint(self) -> str:
        """The form of the images, the shard format and what counts as decodable."""
        decoder = f"simplejpeg-{simplejpeg.__version__}/max_pixels-{self.max_pixels}"
        return f"pack-2/{self.pictures.form}/{SHARD_FORMAT}/{decoder}"

    @uncollected()
    def __call__(self, unit: Unit, scratch: Path) -> Made:
        """Make a shard and its rows; a shard of which nothing is usable has no files."""
        bad: list[dict[str, str]] = []
        samples = self._samples(_listed(unit), bad)
        first = next(samples, None)
        if first is None:
            return Made(files={}, facts={"samples": 0, "quarantined": bad})
        made, table, read_back = shard_files(chain([first], samples), scratch, shard=unit.name)
        return Made(files=made, facts={"samples": table.num_rows, "quarantined": bad}, read_back=read_back)

    def _samples(self, files: Iterable[tuple[Record, int]], bad: list[dict[str, str]]) -> Iterator[Sample]:
        for record, size in files:
            try:
                sample = self._sample(record, size)
            except Undecodable as error:
                bad.append({"key": record.key, "origin": record.origin, "reason": error.reason})
            except OSError as error:
                reason = f"cannot be read: {error.strerror}"
                bad.append({"key": record.key, "origin": record.origin, "reason": reason})
            else:
                yield sample

    def _sample(self, record: Record, size: int) -> Sample:
        data = self.pictures.read(record.origin, size)
        kind, height, width = check_picture(data, max_pixels=self.max_pixels)
        return Sample(record=record, image=data, suffix=kind, annotations=_NOTHING, size=(height, width))


def pack(
    reader: str | Reader,
    root: str | Path,
    out: str | Path,
    *,
    config: PackConfig = _DEFAULTS,
    backend: PoolBackend = _IN_PROCESS,
    progress: Progress = silent,
) -> DatasetCard:
    """Make a data set from a folder of crops. Starting it again resumes; when it is complete, nothing happens.

    Args:
        reader: a name in READERS, or a reader with settings of its own.
        root: what the reader reads.
        out: the folder to make.
        config: how to pack.
        backend: where the work runs.
        progress: told after every shard.

    Raises:
        UserError: when the reader understands nothing, or too many images cannot be decoded.
    """
    reader = _reader(reader)
    with uncollected():
        scan = reader.scan(Path(root).expanduser().absolute())
        storage = open_storage(out)
        units = plan_units(scan, config)
        home, work, made_by = scan.root, PackWork(scan.pictures, config.max_pixels), _made_by(reader, scan, config)
        images = len(scan.sources)
        del scan  # the units say all that is left to do, and the collector need not go through so many records
    name = config.name or reader.name
    result = run_pool(work, units, storage, backend=backend, progress=progress, task=f"pack {name}")
    _check_bad(result.commits, images, config.max_bad_share, home, storage)
    licence = config.licence or reader.about.terms
    return publish_dataset(storage, result, name=name, licence=licence, made_by=made_by)


def plan_units(scan: Scan, config: PackConfig = _DEFAULTS) -> list[Unit]:
    """Return one unit a shard: contiguous runs of each split, in the scan's order.

    The sources are gone through once and none is kept, so that millions cost only the text of their units.
    """
    units: list[Unit] = []
    for split, sources in groupby(scan.sources, key=lambda source: source.record.split):
        chunks = cut_shards(
            sources, lambda source: source.size, max_bytes=config.shard_bytes, max_samples=config.shard_samples
        )
        units += [_unit(f"{split}-{n:06d}", chunk) for n, chunk in enumerate(chunks)]
    return units


def _unit(name: str, sources: Sequence[Source]) -> Unit:
    """Return a unit whose list of files is one text: ten thousand nested values would be checked one by one.

    What is the same for all of them is said once, the rest by columns; millions without labels differ in names only.
    """
    fields_of = attrgetter(*_FIELDS)
    columns = zip(_FIELDS, zip(*(fields_of(source.record) for source in sources), strict=True), strict=True)
    files: dict[str, Sequence[Any]] = {"size": [source.size for source in sources]}
    same: dict[str, Any] = {}
    for field, values in columns:
        if field != "key" and values.count(values[0]) == len(values):
            same[field] = values[0]
        else:
            files[field] = values
    return Unit(name=name, spec={"same": same, "files": json.dumps(files)})


def _listed(unit: Unit) -> Iterator[tuple[Record, int]]:
    """Yield the record and size of each file of a unit."""
    same, files = dict(unit.spec["same"]), json.loads(unit.spec["files"])
    sizes = files.pop("size")
    for size, values in zip(sizes, zip(*files.values(), strict=True), strict=True):
        yield Record.of(same | dict(zip(files, values, strict=True))), size


def _reader(reader: str | Reader) -> Reader:
    if not isinstance(reader, str):
        return reader
    if reader not in READERS:
        raise UserError(f"there is no reader {reader!r}", cure=did_you_mean(reader, READERS))
    return READERS[reader]


def _check_bad(commits: Sequence[Commit], images: int, share: float, root: Path, storage: Storage) -> None:
    """Stop when too much was left out; shards with gaps are withdrawn, so that mended files are read again."""
    gaps = [commit for commit in commits if commit.facts["quarantined"]]
    bad: list[Mapping[str, Any]] = [member for commit in gaps for member in commit.facts["quarantined"]]
    allowed = int(share * images + 1e-9)
    if len(bad) <= allowed:
        return
    for commit in gaps:
        storage.delete(commit_key(commit.name))
    shown = "".join(f"\n  {member['origin']!r}: {member['reason']}" for member in bad[:_SHOWN])
    more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    enough = math.ceil(1000 * len(bad) / images) / 1000
    raise UserError(
        f"{counted(len(bad), '[image|images]')} of {images:,} cannot be used, {allowed} would be allowed:{shown}{more}",
        where=str(root),
        cure=f"mend or remove them and start again, or leave them out with --max-bad-share {enough:g}",
    )


def _made_by(reader: Reader, scan: Scan, config: PackConfig) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(config).items() if key not in ("name", "licence")}
    return {
        "command": "pack",
        "reader": reader.version,
        "settings": settings,
        "notes": list(scan.notes),
        **{what: list(known) for what, known in scan.names.items()},
    }
