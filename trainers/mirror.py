"""A run folder in a bucket, and the working copy of it on this machine.

Files that grow, such as events, cannot lie in a bucket. So a run writes into a folder on this machine's temporary disk,
and whoever holds the run's lease copies what is new up: at each checkpoint, and at the end. A checkpoint goes up like
it is written, its manifest last; one without a manifest does not exist and is swept. The bucket is the truth: each
start makes its working copy anew, with the newest checkpoint's tensors and everything small.

Source: design of this project. Trade-off: training waits while a checkpoint goes up, so that what is told to be saved
is saved; events since the last checkpoint are lost with their machine.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing
from resight.cluster.scratch import scratch_folder
from resight.cluster.storage import Storage, is_url, open_storage
from resight.trainers import checkpoint as checkpoints
from resight.trainers.lease import Fence, LeaseLost, held
from resight.trainers.run_folder import RunFolder

__all__ = [
    "Chosen", "Mirror", "driven", "mirrored", "newest_or_best", "pushed_at_the_end", "run_here", "without_tensors",
    "working_folder",
]  # fmt: skip

_CHECKPOINTS: Final = "checkpoints/"
_OWN: Final = ("control/", "ray/")  # of whoever runs now, on the machine that it runs on
_TENSORS: Final = ".safetensors"
_CONFIG: Final = "config.yaml"

Chosen = Callable[[RunFolder], Path | None]
"""Which checkpoint's tensors are wanted here: told the run with everything small, gives its folder, or None."""


def working_folder(url: str, *, part: str = "run") -> Path:
    """Return where the working copy of a run in a bucket lies: one a user, run and machine, the same for all its ranks.

    Args:
        url: the run.
        part: whose copy, where several processes of one machine each have one: "driver" for Ray's.
    """
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"resight-runs-{os.getuid()}" / f"{name}-{part}"


class Mirror:
    """Copies a run between a bucket and a folder.

    Args:
        storage: the run in the bucket.
        folder: the working copy.
        fence: of the lease under which the bucket may be written; None where nothing in it is replaced.

    Attributes:
        run: the working copy, which says the bucket's place in messages.
    """

    def __init__(self, storage: Storage, folder: Path, fence: Fence | None = None) -> None:
        self.run = RunFolder(folder, url=storage.url)
        self._storage = storage
        self._folder = folder
        self._fence = fence
        self._known: dict[str, tuple[int, int]] = {}

    def pull(self, chosen: Chosen) -> None:
        """Make the working copy anew.

        Args:
            chosen: whose tensors come too.

        Raises:
            UserError: when the bucket holds something else than a run there, or cannot be read.
        """
        with writing("the run's working copy (TMPDIR)", self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            keys = [key for key in self._storage.list() if not key.startswith(_OWN)]
            if keys and _CONFIG not in keys:
                problem = f"there are other files than a run's here, e.g. {keys[0]!r}"
                raise UserError(problem, where=self._storage.url, cure="use another prefix")
            self._fetch([key for key in keys if not key.endswith(_TENSORS)])
            wanted = chosen(self.run)
            if wanted is not None:
                self._fetch([key for key in keys if key.startswith(f"{_CHECKPOINTS}{wanted.name}/")])

    def push(self) -> None:
        """Copy up what is new or has changed, and remove the checkpoints that the run has removed.

        Raises:
            LeaseLost: when another start has taken the run.
            UserError: when the bucket cannot be written.
        """
        if self._fence is not None:
            self._fence.check()
        here = self._files()
        changed = [key for key, mark in here.items() if self._known.get(key) != mark]
        for key in sorted(changed, key=_order):
            self._put(key)
            self._known[key] = here[key]
        if self._fence is not None:
            self._remove_pruned()

    @property
    def lease(self) -> int:
        """The number under which the run in the bucket is held."""
        assert self._fence is not None, "who asks holds the run"
        return self._fence.number

    def put(self, *keys: str) -> None:
        """Copy some files up, whatever else is new here."""
        for key in keys:
            self._put(key)

    def finished(self) -> bool:
        """Tell whether the run in the bucket has reached its last epoch, without a working copy."""
        events = self._storage.read("events.jsonl") if self._storage.exists("events.jsonl") else b""
        return b'{"event":"finish"' in events

    def attempts(self) -> int:
        """Return how often the run in the bucket was started."""
        events = self._storage.read("events.jsonl") if self._storage.exists("events.jsonl") else b""
        return events.count(b'{"event":"start"') + events.count(b'{"event":"resume"')

    def _fetch(self, keys: Sequence[str]) -> None:
        for key in keys:
            path = self._folder / key
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    for piece in self._storage.chunks(key):
                        file.write(piece)
            self._known[key] = _mark(path)

    def _files(self) -> dict[str, tuple[int, int]]:
        paths = [path for path in self._folder.rglob("*") if path.is_file() and ".tmp-" not in str(path)]
        keys = {path.relative_to(self._folder).as_posix(): path for path in paths}
        return {key: _mark(path) for key, path in sorted(keys.items()) if not key.startswith(_OWN)}

    def _put(self, key: str) -> None:
        path = self._folder / key
        if key.startswith(_CHECKPOINTS):
            self._storage.publish_file(path, key)
        else:  # may grow while it goes up
            self._storage.publish(path.read_bytes(), key)

    def _remove_pruned(self) -> None:
        there = self._storage.list(_CHECKPOINTS)
        gone = [key for key in there if not (self._folder / _CHECKPOINTS / key.split("/")[1]).is_dir()]
        for key in sorted(gone, key=_order, reverse=True):  # the manifest first
            self._storage.delete(key)
            self._known.pop(key, None)


def _order(key: str) -> tuple[bool, bool, str]:
    """Sort keys so that a checkpoint comes after what it refers to, and its manifest after its files."""
    return key.startswith(_CHECKPOINTS), key.endswith("/manifest.json"), key


def _mark(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


@contextmanager
def mirrored(url: str, *, rank: int) -> Generator[Mirror]:
    """Hold a run in a bucket and work on a copy of it here; what is new goes up at the end, after errors too.

    Args:
        url: the run.
        rank: of this process. All but rank 0 only learn where the working copy lies.

    Raises:
        UserError: when another process holds the run, or the bucket cannot be used.
    """
    storage = open_storage(url)
    folder = working_folder(storage.url)
    if rank != 0:
        yield Mirror(storage, folder)
        return
    with _held(storage) as fence:
        mirror = Mirror(storage, folder, fence)
        mirror.pull(RunFolder.latest)
        with pushed_at_the_end(mirror):
            yield mirror


@contextmanager
def driven(url: str) -> Generator[Mirror]:
    """Hold a run in a bucket for workers on other machines, who copy it up; this process copies up what it is told to.

    Args:
        url: the run.

    Raises:
        UserError: as `mirrored`.
    """
    storage = open_storage(url)
    with _held(storage) as fence:
        mirror = Mirror(storage, working_folder(storage.url, part="driver"), fence)
        mirror.pull(without_tensors)
        yield mirror


@contextmanager
def _held(storage: Storage) -> Generator[Fence]:
    attempts = Mirror(storage, Path()).attempts()
    with held(f"{storage.url}/control", attempt=attempts + 1) as fence:
        yield fence


@contextmanager
def pushed_at_the_end(mirror: Mirror) -> Generator[None]:
    """Copy up what is new when the block ends, with an error too; a run that was taken over is left alone."""
    try:
        yield
    except LeaseLost:
        raise
    except BaseException:
        with suppress(UserError):  # the error under way says more than this one would
            mirror.push()
        raise
    mirror.push()


@contextmanager
def run_here(place: str | Path, chosen: Chosen = RunFolder.latest) -> Generator[Path]:
    """Give a run, or one checkpoint, as a folder on this machine; what is written there goes to its bucket at the end.

    Args:
        place: a run folder, a checkpoint's folder, or the URL of one of them.
        chosen: of a run in a bucket, the checkpoint whose tensors are wanted.

    Raises:
        UserError: when there is no run, or not this checkpoint, in the bucket.
    """
    if not is_url(place):
        yield Path(place)
        return
    run, _, name = str(place).rstrip("/").partition(f"/{_CHECKPOINTS}")
    storage = open_storage(run)
    if not storage.exists(f"{_CHECKPOINTS}{name}/manifest.json" if name else _CONFIG):
        problem = "there is no such checkpoint" if name else "there is no run here: no config.yaml"
        raise UserError(problem, where=str(place), cure="give what was given to `resight train --out`")
    with scratch_folder() as scratch:
        folder = scratch / storage.url.rpartition("/")[2]  # the run's name
        mirror = Mirror(storage, folder)
        mirror.pull((lambda run: run.checkpoints / name) if name else chosen)
        yield folder / _CHECKPOINTS / name if name else folder
        mirror.push()


def newest_or_best(which: str) -> Chosen:
    """Return what chooses the newest checkpoint, or the one that validation found best."""

    def chosen(run: RunFolder) -> Path | None:
        return checkpoints.best(run.checkpoints) if which == "best" else run.latest()

    return chosen


def without_tensors(run: RunFolder) -> None:
    """Choose no checkpoint: for those who read a run's figures only."""
