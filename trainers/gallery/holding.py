"""Holding a gallery index while it is changed: one change at a time, whole or not at all.

A change holds a lock on the folder that the system drops with its process. New files are written first, the manifest is
replaced, and then every file of an index that it does not name is deleted, those of interrupted changes too. So
whatever is killed when, the index is as before or as after.
Source: design of this project. Trade-off: what the file system or its snapshots keep of deleted blocks is beyond a
program's reach.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing
from resight.cluster.scratch import sweep_scratch
from resight.cluster.storage import Storage, open_storage
from resight.datasets.cache_lock import locked
from resight.trainers.gallery.manifest import MANIFEST_KEY, is_index_key, read_manifest

__all__ = ["changing"]


@contextmanager
def changing(path: Path, *, make: bool) -> Generator[Storage]:
    """Hold an index, and leave only what its manifest names, also when the change failed.

    Args:
        path: the index's folder.
        make: it is made when it is not there.

    Yields:
        Its storage.

    Raises:
        UserError: while another process changes it, when there is none, and for a folder that holds something else.
    """
    folder = path.expanduser().absolute()
    storage = open_storage(folder)
    if make:
        with writing("the index", folder):
            folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(storage)
    else:
        read_manifest(storage)
    with locked(folder, _busy(folder)):
        try:
            yield storage
        finally:
            _sweep(storage, folder)


def _busy(folder: Path) -> Callable[[], None]:
    def wait() -> None:
        cure = "wait until it has ended, then start this one again"
        raise UserError("another process is changing this index", where=str(folder), cure=cure)

    return wait


def _refuse_foreign(storage: Storage) -> None:
    """Refuse to make an index among other files: what is not in it gets deleted, and they are somebody's."""
    foreign = [] if storage.exists(MANIFEST_KEY) else [key for key in storage.list() if not is_index_key(key)]
    if foreign:
        cure = "choose a folder that is empty or not there"
        raise UserError(f"this folder holds other files, e.g. {foreign[0]!r}", where=storage.url, cure=cure)


def _sweep(storage: Storage, folder: Path) -> None:
    """Delete files of an index that the manifest does not name: old ones, leftovers of killed changes; nothing else."""
    named = read_manifest(storage).keys if storage.exists(MANIFEST_KEY) else set[str]()
    for key in [*storage.list("segments/"), *storage.list("cells/")]:
        if is_index_key(key) and key not in named:
            storage.delete(key)
    for place in [folder, *folder.glob("segments/*"), *folder.glob("cells/*")]:
        for torn in place.glob(".tmp-*"):
            torn.unlink(missing_ok=True)
        if place != folder and place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    sweep_scratch()
