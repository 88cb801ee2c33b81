"""A small run for tests: batches that are a pure function of (seed, epoch, step), and a config to go with them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resight.datasets.batch import Batch
from resight.datasets.loader import slice_of
from resight.trainers.checkpoint import Position
from resight.trainers.config import Config, with_overrides
from resight.trainers.contexts.context import Notice, Write
from resight.trainers.recipes.strong_baseline import strong_baseline

HEIGHT, WIDTH, CLASSES, CAMERAS = 16, 8, 6, 2


def toy_config(**overrides: Any) -> Config:
    """A network of width 2 in float64; overrides by dotted path, dots written as two underscores."""
    config = strong_baseline("tiny", epochs=2)
    fixed: dict[str, Any] = {
        "augment.height": HEIGHT,
        "augment.width": WIDTH,
        "augment.pad": 1,
        "model.width": 2,
        "engine.precision": "float64",
        "sampler.ids_per_batch": 4,
        "sampler.images_per_id": 4,
        "optim.lr": 1e-3,
        "schedule.kind": "multistep",
        "schedule.change": "epoch",
        "schedule.warmup_epochs": 0,
        "schedule.milestones": [],
    }
    return with_overrides(config, fixed | {name.replace("__", "."): value for name, value in overrides.items()})


class ToyData:
    """Noisy stripes, one width a class; the whole batch is made and the rank's slice cut out."""

    num_classes, num_cameras = CLASSES, CAMERAS
    cameras = tuple(f"toy/{camid}" for camid in range(CAMERAS))
    held_out = ()

    def __init__(self, config: Config, *, steps: int = 3, poison: Position | None = None) -> None:
        self.steps_per_epoch = steps
        self._config = config
        self._poison = poison

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        for step in range(start_step, self.steps_per_epoch):
            for part in self._config.sampler.parts:
                yield self._batch(epoch, step, part, rank, world)

    def keys(self, rows: Tensor) -> list[str]:
        return [f"toy/{row}" for row in rows.tolist()]

    def _batch(self, epoch: int, step: int, part: range, rank: int, world: int) -> Batch:
        sampler = self._config.sampler
        total = sampler.ids_per_batch * sampler.images_per_id
        generator = torch.Generator().manual_seed(1000 * (100 * self._config.seed + epoch) + step)
        ids = torch.randperm(CLASSES, generator=generator)[: sampler.ids_per_batch]
        labels = ids.repeat_interleave(sampler.images_per_id)
        images = torch.randn(total, 3, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)
        stripes = torch.arange(HEIGHT).view(1, 1, -1, 1) % (labels.view(-1, 1, 1, 1) + 2) == 0
        images += 4 * stripes
        if self._poison == Position(epoch=epoch, step=step):
            images[-1] = float("nan")
        slots = slice_of(len(part), rank, world)
        places, labels = torch.tensor(part), labels[part.start : part.stop]
        return Batch(
            images=images[places[slots.start : slots.stop]].float(),
            slots=slots,
            begin=part.start,
            rows=places,
            labels=labels,
            pids=labels,
            camids=places % CAMERAS,
            has_id=torch.ones(len(part), dtype=torch.bool),
            has_shape=torch.zeros(len(part), dtype=torch.bool),
            epoch=epoch,
            step=step,
            seed=self._config.seed,
        )


class NotedContext:
    """A `RunContext` that keeps what it is told in memory, resumes from `start`, says stop after `stop_at` steps."""

    def __init__(
        self, folder: Path, *, rank: int = 0, world: int = 1, start: Path | None = None, stop_at: int | None = None
    ) -> None:
        self.rank, self.world = rank, world
        self.events: list[dict[str, Any]] = []
        self.saved: list[Path] = []
        self._folder = folder
        self._start = start
        self._stop_at = stop_at
        self._asked = 0

    def checkpoint(self) -> Path | None:
        return self._start

    def report(self, event: str, **facts: Any) -> None:
        self.events.append({"event": event, **facts})

    def save(self, write: Write, position: Position) -> None:
        if self.rank == 0:
            self.saved.append(write(self._folder))

    def notice(self) -> Notice:
        self._asked += 1
        return Notice.STOP if self._asked == self._stop_at else Notice.NONE

    def totals(self) -> list[float]:
        return [event["total"] for event in self.events if event["event"] == "step"]


def with_ddp(config: Config) -> Config:
    return replace(config, engine=replace(config.engine, kind="ddp"))
