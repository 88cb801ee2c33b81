"""What a training loop works on: networks, optimiser and method state, built from a config, resumed from a checkpoint.

Source: design of this project.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.datasets.dataset import Dataset
from resight.trainers import checkpoint as checkpoints
from resight.trainers import schema
from resight.trainers.checkpoint import Moving, Position
from resight.trainers.config import Config, diff, fingerprint, from_dict, to_dict
from resight.trainers.contexts.context import RunContext
from resight.trainers.engines.engine import Engine
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape, Method
from resight.trainers.optim import make_optimizer
from resight.trainers.source import package_folder
from resight.trainers.speed import Speed, speed_of

__all__ = ["Job", "TrainData", "begun_epoch", "make_job", "resume_job"]


class TrainData(Protocol):
    """Logical batches, a pure function of (seed, epoch, step); `datasets/loader.py` has the real one."""

    @property
    def num_classes(self) -> int:
        """Training identities over all sources."""
        ...

    @property
    def num_cameras(self) -> int:
        """Cameras over all sources."""
        ...

    @property
    def cameras(self) -> tuple[str, ...]:
        """Their names, "data set/camid", by the numbers they have in a batch."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Logical batches in an epoch."""
        ...

    @property
    def held_out(self) -> Sequence[tuple[Dataset, Int64[np.ndarray, " v"]]]:
        """Data sets with the rows of identities that are set aside for validation; empty for none."""
        ...

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        """Yield a rank's slices of the batches of `epoch`, from `start_step` on, each as its parts one by one."""
        ...

    def keys(self, rows: Tensor) -> list[str]:
        """Return the samples' keys, for messages."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run's moving parts, and what of its configuration they depend on.

    Attributes:
        method: the functions of the method.
        shape: what the networks were built for.
        moving: networks, optimiser, method state.
        facts: kept in each checkpoint, so that it can be used without its run folder.
        speed: what training an image takes, and what the device could do.
    """

    method: Method
    shape: DataShape
    moving: Moving
    facts: dict[str, Any]
    speed: Speed

    def save(
        self,
        position: Position,
        context: RunContext,
        validation: Mapping[str, Any] | None = None,
        *,
        so_far: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint through the context.

        Args:
            position: how far the run is.
            context: writes.
            validation: what validation found here, if it took place.
            so_far: the sums of an epoch that has only begun (`meter.py`).
        """
        facts = {**self.facts, "validation": validation, "epoch_so_far": so_far}
        context.save(lambda folder: checkpoints.save(folder, self.moving, position, facts), position)

    def update(self, config: Config) -> None:
        """Let the method follow an optimiser step, where it wants to."""
        if self.method.update is not None:
            self.method.update(self.moving.models, self.moving.state, config)


def make_job(config: Config, data: TrainData, engine: Engine) -> Job:
    """Build everything from the config, seeded; equal on every rank."""
    torch.manual_seed(config.seed)
    method = method_of(config)
    shape = DataShape(
        num_classes=data.num_classes,
        num_cameras=data.num_cameras,
        height=config.augment.height,
        width=config.augment.width,
        cameras=data.cameras,
    )
    models = method.build(config, shape)
    speed = speed_of(method, models, _example(data, engine), config, engine.device)
    state = method.initial_state(models, config, shape)
    engine.place(models)
    moving = Moving(models=models, optimizer=make_optimizer(models, config.optim), state=state)
    facts = {"config": to_dict(config), "fingerprint": fingerprint(config), "shape": schema.plain(shape)}
    facts["steps_per_epoch"] = data.steps_per_epoch
    return Job(method=method, shape=shape, moving=moving, facts=facts, speed=speed)


def resume_job(job: Job, config: Config, data: TrainData, engine: Engine, context: RunContext) -> Position:
    """Let the engine take charge, fill the job from the context's checkpoint if it has one; return where to go on."""
    whole = WholeLoss(job.method, job.moving.models, config, job.moving.state, engine.group, engine.clock)
    cached = config.sampler.chunks > 1
    idle = engine.prepare(whole, job.moving.optimizer, lambda: _example(data, engine), cached=cached)
    checkpoint = context.checkpoint()
    position = _restore(job, checkpoint) if checkpoint else Position()
    context.report(
        "resume" if checkpoint else "start",
        epoch=position.epoch,
        step=position.step,
        steps_total=config.run.epochs * data.steps_per_epoch,
        world=engine.world,
        device=str(engine.device),
        threads=torch.get_num_threads(),
        host=socket.gethostname(),
        pid=os.getpid(),
        code=str(package_folder()),
        parameters=_size(job.moving.models),
        without_gradient=list(idle),
        **asdict(job.speed),
    )
    return position


def begun_epoch(checkpoint: Path | None) -> Mapping[str, Any] | None:
    """Return the sums that the epoch had when `checkpoint` was made in its midst (`meter.py`); None at its begin."""
    return checkpoints.read_state(checkpoint).get("epoch_so_far") if checkpoint else None


def _example(data: TrainData, engine: Engine) -> Batch:
    """Return some batch of the right size; what is prefetched behind it is dropped."""
    return next(iter(data.batches(0, 0, rank=engine.rank, world=engine.world)))


def _restore(job: Job, checkpoint: Path) -> Position:
    kept = checkpoints.read_state(checkpoint)
    if kept["fingerprint"] != job.facts["fingerprint"]:
        changes = diff(from_dict(kept["config"]), from_dict(job.facts["config"]), placement=False)
        raise _of_another(checkpoint, "configuration", changes)
    for name in ("shape", "steps_per_epoch"):
        if kept[name] != job.facts[name]:
            raise _of_another(checkpoint, "data set", _changes(name, kept[name], job.facts[name]))
    checkpoints.load(checkpoint, job.moving)
    return checkpoints.read_position(checkpoint)


def _changes(name: str, old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    if not isinstance(old, dict):
        return {name: (old, new)}
    return {key: (value, new.get(key)) for key, value in old.items() if new.get(key) != value}


def _of_another(checkpoint: Path, what: str, changes: Mapping[str, tuple[Any, Any]]) -> UserError:
    told = ", ".join(f"{name} was {old!r} and is {new!r}" for name, (old, new) in changes.items())
    return UserError(
        f"the checkpoint was made with another {what}: {told}",
        where=str(checkpoint),
        cure=f"use the {what} the run began with, or begin again in another --out",
    )


def _size(models: nn.Module) -> int:
    return sum(parameter.numel() for parameter in models.parameters())
