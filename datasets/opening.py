"""Sources of a stream: published data sets, and plain tars that somebody else made.

Source: design of this project. Trade-off: a folder is taken for a data set when it has a `dataset.json`, and for a
folder of tars when it has not; a text with wildcards or braces is always a pattern of tars.
"""

from collections.abc import Sequence
from pathlib import Path

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, silent
from resight.cluster.storage import is_url
from resight.datasets.card import CARD_KEY
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.sources import Source
from resight.datasets.tars import open_tars

__all__ = ["open_streams"]

_CURE = "choose another split, or another data set"


def open_streams(
    texts: Sequence[str], *, split: str = "train", cache: Path | None = None, progress: Progress = silent
) -> tuple[Source, ...]:
    """Open what is to be streamed: every person of a split, labelled or not.

    Args:
        texts: data set folders, folders of tars, or patterns of tars ("shards/{000000..000127}.tar", "shards/a-*.tar").
        split: of data sets; tars of others are all of the split "train".
        cache: where indexes of other people's tars are kept; None is beside them.
        progress: told while tars are read for the first time.

    Raises:
        UserError: for what cannot be opened, or has no images in the split.
    """
    return tuple(_open(text, split, cache, progress) for text in texts)


def _open(text: str, split: str, cache: Path | None, progress: Progress) -> Source:
    dataset = _dataset(text, cache, progress)
    rows = dataset.index.select(split=split, role="person")
    if not len(rows):
        found = ", ".join(dataset.index.splits) or "none"
        raise UserError(f"no images of people in the split {split!r}; splits: {found}", where=dataset.path, cure=_CURE)
    return Source(dataset=dataset, weight=1.0, rows=rows, validation=rows[:0], crops=rows)


def _dataset(text: str, cache: Path | None, progress: Progress) -> Dataset:
    if is_url(text):
        if text.endswith(".tar") or any(mark in text for mark in "*?[{"):
            cure = "bring them into a data set with `resight pack`, or copy them to a disk"
            raise UserError("tars of other people are read from disks only", where=text, cure=cure)
        return open_dataset(text)
    folder = Path(text).expanduser()
    tars = folder.is_dir() and not (folder / CARD_KEY).exists() and any(folder.glob("*.tar"))
    if tars or folder.suffix == ".tar" or any(mark in text for mark in "*?[{"):
        return open_tars(text, cache=cache, progress=progress)
    return open_dataset(text)
