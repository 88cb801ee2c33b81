"""Train: from a configuration to a run folder, here or on Ray, from the beginning or from where it stopped.

The same command continues a run. What decides that is the run folder: its config must decide the same result (the
fingerprint; placement may differ), and its newest committed checkpoint is where to go on. Whoever writes into the
folder holds its lease: two runs on one folder are told from a run that goes on.

Source: design of this project.
"""

import os
import threading
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, Step, silent
from resight.cluster.session import ray_session
from resight.cluster.storage import is_url
from resight.datasets.sources import parse_source
from resight.trainers.config import Config, diff, fingerprint
from resight.trainers.contexts.in_process import InProcess, Place, joined, place
from resight.trainers.engines import check_engine
from resight.trainers.environment import environment
from resight.trainers.following import following
from resight.trainers.lease import Fence, held
from resight.trainers.mirror import Mirror, driven, mirrored, without_tensors
from resight.trainers.run_folder import RunFolder
from resight.trainers.signals import StopNote, Told, on_stop
from resight.trainers.trackers import ProgressTracker
from resight.trainers.validation import check_validation
from resight.trainers.worker import open_data, work

__all__ = ["Backend", "Resume", "train"]

Backend = Literal["local", "ray"]
Resume = Literal["auto", "never", "must"]


def train(
    config: Config,
    *,
    out: Path | str,
    workers: int = 1,
    backend: Backend = "local",
    resume: Resume = "auto",
    progress: Progress = silent,
) -> RunFolder:
    """Train, or go on training, until the last epoch, SIGTERM or Ctrl-C; in any case the run folder is whole.

    Args:
        config: what to train; relative paths in it are taken from the working directory.
        out: the run folder, or s3://bucket/prefix for a run in a bucket (`mirror.py`).
        workers: how many share each logical batch; the result is the same for any number. Under torchrun its own
            number counts.
        backend: "local" trains in this process (all of torchrun's, if it was started so); "ray" on Ray Train.
        resume: "auto" goes on where a run stopped, or begins one; "must" refuses to begin, "never" refuses to go on.
        progress: receives steps done.

    Returns:
        The run folder; `finished` tells whether the last epoch was reached.

    Raises:
        UserError: when the folder holds another run, or another process trains there now, the data cannot be used, the
            loss is not finite, or another rank was lost.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint was written; its text says where.
    """
    where = place() if backend == "local" else Place()
    workers = where.world if where.world > 1 else workers
    config = _at_the_door(config, workers)
    _refuse(workers, backend, where)
    check_engine(config.engine, world=workers)
    if not is_url(out):
        return _train(config, RunFolder(Path(out)), workers, backend, resume, progress)
    if backend == "ray":
        with driven(str(out)) as mirror:
            return _train(config, mirror.run, workers, backend, resume, progress, mirror)
    _refuse_far_ranks(str(out), where)
    with mirrored(str(out), rank=where.rank) as mirror:
        return _train(config, mirror.run, workers, backend, resume, progress, mirror)


def _train(
    config: Config,
    run: RunFolder,
    workers: int,
    backend: Backend,
    resume: Resume,
    progress: Progress,
    mirror: Mirror | None = None,
) -> RunFolder:
    where = place() if backend == "local" else Place()
    _check(run, config, resume, where)
    if run.finished if mirror is None or where.rank == 0 else mirror.finished():
        if where.rank == 0:
            progress(_finished(run))
        return run
    if where.rank == 0:
        with open_data(config, world=workers) as data:  # a user's mistake is told here, before any worker starts
            check_validation(config, data)
    with held(run.control, attempt=run.attempts() + 1) if where.rank == 0 else nullcontext() as fence:
        _check(run, config, resume, where)  # once more: another start may have begun a run here in between
        if where.rank == 0:
            run.write_config(config)
            run.write_environment(environment(workers=workers, backend=backend))
            StopNote(run.control).clear()
        if backend == "ray":
            told = _on_ray(config, run, workers, fence, progress, mirror)
        else:
            told = _locally(config, run, where, fence, progress, mirror)
    if told.interrupted and not run.finished:
        raise KeyboardInterrupt(run.stopped())
    return run


def _locally(
    config: Config, run: RunFolder, where: Place, fence: Fence | None, progress: Progress, mirror: Mirror | None
) -> Told:
    stop = threading.Event()
    cuda = config.engine.device != "cpu" and torch.cuda.is_available()
    with joined(where, cuda=cuda), on_stop(stop.set, speak=where.rank == 0) as told:
        trackers = [ProgressTracker(progress)]
        work(
            config, run, where, lambda recorder: InProcess(recorder, where, stop), trackers, fence=fence, mirror=mirror
        )
    return told


def _on_ray(
    config: Config, run: RunFolder, workers: int, fence: Fence | None, progress: Progress, mirror: Mirror | None
) -> Told:
    from resight.trainers.contexts.ray_train import fit_on_ray  # Ray takes seconds to import

    assert fence is not None, "the driver is no rank, and holds the lease"
    if mirror is not None:
        mirror.put(run.config_file.name, run.environment_file.name)
    note = StopNote(run.control if mirror is None else f"{run.place}/{run.control.name}")
    note.clear()
    with ExitStack() as stack:
        session = stack.enter_context(ray_session(workers_cpus=max(workers, os.cpu_count() or 1)))
        told = stack.enter_context(on_stop(note.leave))
        stack.enter_context(following(run.events_file(), ProgressTracker(progress)))
        lease = fence.number if mirror is None else mirror.lease
        fit_on_ray(config, run, workers=workers, private=session.started, lease=lease)
    if mirror is not None:
        mirror.pull(without_tensors)  # what the workers did
    return told


def _at_the_door(config: Config, workers: int) -> Config:
    """Make paths absolute, since workers have working directories of their own; several workers need ddp."""
    folder = config.data.cache_dir
    data = replace(
        config.data,
        sources=tuple(_absolute(source) for source in config.data.sources),
        cache_dir=None if folder is None else os.path.abspath(os.path.expanduser(folder)),
    )
    weights = config.model.weights
    if weights is not None and not weights.startswith("timm:"):
        weights = os.path.abspath(os.path.expanduser(weights))
    kind = "ddp" if workers > 1 and config.engine.kind == "single" else config.engine.kind
    engine = replace(config.engine, kind=kind)
    return replace(config, data=data, model=replace(config.model, weights=weights), engine=engine)


def _absolute(source: str) -> str:
    """Return "path" or "path:weight" with the path from the root; a URL stays as it is."""
    if is_url(source):
        return source
    path, _ = parse_source(source)
    return os.path.abspath(os.path.expanduser(path)) + source[len(path) :]


def _refuse(workers: int, backend: Backend, where: Place) -> None:
    if workers < 1:
        raise UserError(f"{workers} workers cannot train", where="workers", cure="use 1 or more")
    if backend == "local" and workers > 1 and where.world == 1:
        raise UserError(
            f"{workers} workers need to be started by something",
            where="workers",
            cure=f"use --backend ray, or start with: torchrun --nproc-per-node {workers} -m resight train ...",
        )


def _refuse_far_ranks(out: str, where: Place) -> None:
    """Refuse torchrun on several machines for a run in a bucket: its ranks share the working copy, a folder."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", where.world))
    if here < where.world:
        raise UserError(
            "torchrun trains a run in a bucket on one machine only",
            where=f"--out {out}",
            cure="use --backend ray, or a folder on a file system that all machines mount",
        )


def _check(run: RunFolder, config: Config, resume: Resume, where: Place) -> None:
    """Refuse what `resume` does not allow. Under torchrun rank 0 speaks for all, before it writes anything."""
    if where.rank != 0:
        return
    begun = run.config_file.is_file()
    if not begun:
        _refuse_foreign(run)
    if not begun and resume == "must":
        raise UserError("there is no run to go on with", where=run.place, cure="use --resume auto to begin one")
    if begun and resume == "never":
        raise UserError("this folder holds a run already", where=run.place, cure="use another --out, or delete it")
    if begun and fingerprint(run.config()) != fingerprint(config):
        changes = diff(run.config(), config, placement=False)
        told = "".join(f"\n    {path}: was {old!r}, is {new!r}" for path, (old, new) in changes.items())
        raise UserError(
            f"the configuration of this run was changed{told}",
            where=run.place,
            cure="undo the change to go on, or use another --out to begin again",
        )


def _refuse_foreign(run: RunFolder) -> None:
    """Refuse what is no run folder; one whose first start was cut short before it wrote its config is one."""
    ours = (run.control.name, ".")
    if run.path.exists() and (not run.path.is_dir() or any(not p.name.startswith(ours) for p in run.path.iterdir())):
        raise UserError("this is not a run folder, and it is not empty", where=run.place, cure="use another --out")


def _finished(run: RunFolder) -> Step:
    last = [event for event in run.events() if event["event"] == "finish"][-1]
    return Step(task="train", done=last["step"], total=last["step"], unit="steps", facts={"status": "finished before"})
