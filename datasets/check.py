"""Whether a data set is whole, and fit to be learned from and judged on.

Whole: every shard has its checksum, every image its own, its size, and pixels. Fit: nobody is both trained and tested,
no picture is in both, every query can be answered. Problems make results wrong; warnings make them worse or odd.
Trade-off: everything is read once, with threads (checksums and codecs release the interpreter lock): about the time of
one epoch without augmentation.
Source: design of this project; the faults are those reported of public data sets and of their copies.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, Step, silent
from resight.cluster.words import counted
from resight.datasets.dataset import Dataset
from resight.datasets.index import Index
from resight.datasets.publish import count_splits
from resight.datasets.tables import camera_table, differing_counts, outfit_table

__all__ = ["Finding", "Report", "check", "judge_index"]

_CHUNK: Final = 256  # images a task
_SHOWN: Final = 5
_SIDES: Final = {"train": ("train", "val"), "test": ("query", "gallery")}

_Fault = tuple[str, str]
"""Kind, and an example."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        kind: a word for programs, e.g. "undecodable".
        message: a sentence for people, with the count.
        count: how many.
        examples: up to five keys, shards or identities.
    """

    kind: str
    message: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a check found.

    Attributes:
        dataset: its name.
        sha256: the identity of its data.
        images: how many were read.
        counts: split -> images, ids, cameras, outfits, distractors, junk.
        cameras: split -> camera -> images.
        outfits: split -> number of outfits -> identities seen in so many; only splits with known outfits.
        notes: what was left aside when it was packed, in sentences.
        problems: make results wrong; a sound data set has none.
        warnings: worth knowing.
    """

    dataset: str
    sha256: str
    images: int
    counts: dict[str, dict[str, int]]
    cameras: dict[str, dict[str, int]]
    outfits: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    problems: tuple[Finding, ...]
    warnings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "sound": self.sound}


def check(dataset: Dataset, *, threads: int = 4, progress: Progress = silent) -> Report:
    """Read everything and look for faults; never raises for what is wrong with the data.

    Args:
        dataset: an open data set.
        threads: how many to read with.
        progress: told after every few hundred images.
    """
    with ThreadPoolExecutor(threads) as executor:
        names = list(dataset.card.shards)
        shards = dict(zip(names, executor.map(lambda shard: _check_shard(dataset, shard), names), strict=True))
        readable = [name for name, fault in shards.items() if fault is None or fault[0] == "checksum"]
        rows = np.flatnonzero(np.isin(dataset.index.shard, readable))
        chunks = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
        faults = list(_told(executor.map(lambda c: _check_rows(dataset, c), chunks), len(rows), progress))
    found = [fault for fault in shards.values() if fault is not None] + [f for chunk in faults for f in chunk]
    problems, warnings = judge_index(dataset.index)
    counts = count_splits(dataset.index)
    return Report(
        dataset=dataset.name,
        sha256=dataset.card.sha256,
        images=len(rows),
        counts=counts,
        cameras=camera_table(dataset.index),
        outfits=outfit_table(dataset.index),
        notes=tuple(str(note) for note in dataset.card.made_by.get("notes", ())),
        problems=(*_gather(found), *_counts_differ(dataset), *problems),
        warnings=(*_quarantined(dataset), *_unpublished(dataset, counts), *warnings),
    )


_SENTENCES: Final = {
    "missing": "[shard is|shards are] missing or [has|have] the wrong size",
    "checksum": "[shard fails its|shards fail their] checksum",
    "bytes": "[image fails its|images fail their] checksum",
    "undecodable": "[member|members] cannot be decoded",
    "size": "[image does|images do] not have the size the index says",
}


def _check_shard(dataset: Dataset, shard: str) -> _Fault | None:
    try:
        with dataset.shard_path(shard).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except UserError as error:
        return "missing", error.problem
    return None if digest == dataset.card.shards[shard]["sha256"] else ("checksum", shard)


def _check_rows(dataset: Dataset, rows: np.ndarray) -> list[_Fault]:
    return [fault for row in rows.tolist() for fault in _check_row(dataset, row)]


def _check_row(dataset: Dataset, row: int) -> Iterator[_Fault]:
    index, key = dataset.index, str(dataset.index.key[row])
    try:
        if hashlib.sha256(dataset.image_bytes(row)).hexdigest() != index.sha256[row]:
            yield "bytes", key
        planes = [dataset.image(row), dataset.mask(row), dataset.parts(row)]
    except UserError as error:
        yield "undecodable", f"{key}: {error.problem}"
        return
    size = (int(index.height[row]), int(index.width[row]))
    if any(plane is not None and plane.shape[:2] != size for plane in planes):
        yield "size", key


def _told(chunks: Iterable[list[_Fault]], total: int, progress: Progress) -> Iterator[list[_Fault]]:
    for n, faults in enumerate(chunks, start=1):
        progress(Step(task="check", done=min(n * _CHUNK, total), total=total, unit="images"))
        yield faults


def _gather(faults: Sequence[_Fault]) -> Iterator[Finding]:
    for kind, sentence in _SENTENCES.items():
        yield from _finding(kind, sentence, [example for name, example in faults if name == kind])


def _finding(kind: str, sentence: str, examples: Sequence[object] | np.ndarray) -> Iterator[Finding]:
    """Yield a finding, or nothing when there are no cases."""
    if len(examples):
        shown = tuple(str(example) for example in examples[:_SHOWN])
        yield Finding(kind=kind, message=counted(len(examples), sentence), count=len(examples), examples=shown)


def _counts_differ(dataset: Dataset) -> Iterator[Finding]:
    counted = count_splits(dataset.index)
    differ = [split for split in counted if counted[split] != dataset.card.counts.get(split)]
    yield from _finding("counts", "[split does|splits do] not have the counts that dataset.json states", differ)


def _quarantined(dataset: Dataset) -> Iterator[Finding]:
    left_out = [f"{member['key']}: {member['reason']}" for member in dataset.card.quarantined]
    yield from _finding("quarantined", "[image was|images were] left out when it was made", left_out)


def _unpublished(dataset: Dataset, counts: dict[str, dict[str, int]]) -> Iterator[Finding]:
    sentences = differing_counts(dataset.index, counts)
    yield from _finding(
        "published", "[figure differs|figures differ] from those published for this data set", sentences
    )


def judge_index(index: Index) -> tuple[list[Finding], list[Finding]]:
    """Return (problems, warnings) that the labels and checksums alone show."""
    people = {side: _people(index, splits) for side, splits in _SIDES.items()}
    both = np.intersect1d(people["train"], people["test"])
    problems = [*_finding("identities", "[identity is|identities are] both trained and tested", both), *_leaks(index)]
    warnings = [
        *_finding("duplicates", "[image occurs|images occur] more than once within a split", _duplicates(index)),
        *_finding("shared", "gallery [image is a query|images are queries] too", _shared(index)),
        *_finding("validation", "validation [identity is|identities are] trained too", _val_overlap(index)),
        *_finding("unanswerable", "[query has|queries have] no match under another camera", _unanswerable(index)),
        *_finding("single", "trained [identity has|identities have] a single image", _single(index)),
        *_finding("unlabelled", "[image|images] of people [has|have] no identity", _nameless(index)),
    ]
    return problems, warnings


def _nameless(index: Index) -> np.ndarray:
    return index.key[(index.pid < 0) & (index.role == "person")]


def _people(index: Index, splits: Sequence[str]) -> np.ndarray:
    rows = index.select(split=splits, role="person")
    return np.unique(index.pid[rows][index.pid[rows] >= 0])


def _val_overlap(index: Index) -> np.ndarray:
    return np.intersect1d(_people(index, ["train"]), _people(index, ["val"]))


def _leaks(index: Index) -> Iterator[Finding]:
    train, test = (index.select(split=splits) for splits in _SIDES.values())
    shared = np.isin(index.sha256[test].astype(str), index.sha256[train].astype(str))
    yield from _finding("leaks", "test [image is|images are] also among the training images", index.key[test[shared]])


def _shared(index: Index) -> np.ndarray:
    """Return the keys of gallery images whose bytes are a query's: harmless only under a rule that drops them."""
    query, gallery = index.select(split="query"), index.select(split="gallery")
    return index.key[gallery[np.isin(index.sha256[gallery].astype(str), index.sha256[query].astype(str))]]


def _duplicates(index: Index) -> np.ndarray:
    """Return the keys of all but the first of equal images within each split."""
    labels = np.char.add(np.char.add(index.split, " "), index.sha256.astype(str))
    first = np.zeros(len(index), bool)
    first[np.unique(labels, return_index=True)[1]] = True
    return index.key[~first]


def _unanswerable(index: Index) -> np.ndarray:
    """Return the keys of queries that no gallery image of the same person under another camera answers.

    An unknown camera (-1) counts as another one.
    """
    query, gallery = index.select(split="query", role="person"), index.select(split="gallery", role="person")
    seen: dict[int, set[int]] = {}
    for pid, camid in zip(index.pid[gallery].tolist(), index.camid[gallery].tolist(), strict=True):
        seen.setdefault(pid, set()).add(camid)

    def answered(pid: int, camid: int) -> bool:
        cameras = seen.get(pid, set[int]())
        return bool(cameras if camid < 0 else (cameras - {camid}))

    pairs = zip(index.pid[query].tolist(), index.camid[query].tolist(), strict=True)
    return index.key[query[[not answered(pid, camid) for pid, camid in pairs]]]


def _single(index: Index) -> np.ndarray:
    rows = index.select(split="train", role="person")
    pids, counts = np.unique(index.pid[rows][index.pid[rows] >= 0], return_counts=True)
    return pids[counts == 1]
