"""The real loop against the frozen curve: `fit` adds nothing to the method's own arithmetic."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from resight.datasets.batch import Batch
from resight.trainers.checkpoint import Position
from resight.trainers.config import Config, with_overrides
from resight.trainers.contexts.context import Notice, Write
from resight.trainers.engines import open_engine
from resight.trainers.fit import fit
from resight.trainers.methods import METHODS
from resight.trainers.methods.method import DataShape, Models
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid
from tests.golden import golden_curves

STEPS = 6


class _Data:
    num_classes, num_cameras, steps_per_epoch = golden_curves.CLASSES, 2, golden_curves.STEPS_PER_EPOCH
    cameras = ("golden/0", "golden/1")
    held_out = ()

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        shape = DataShape(num_classes=golden_curves.CLASSES, num_cameras=2, height=128, width=64)
        for step in range(start_step, self.steps_per_epoch):
            yield golden_curves.made_batch(epoch * self.steps_per_epoch + step, shape)

    def keys(self, rows: Tensor) -> list[str]:
        return [str(row) for row in rows.tolist()]


class _Context:
    """Keeps events, saves nothing, and says stop after `STEPS` steps."""

    rank, world = 0, 1

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.asked = 0

    def checkpoint(self) -> Path | None:
        return None

    def report(self, event: str, **facts: Any) -> None:
        if event == "step":
            self.steps.append(facts)

    def save(self, write: Write, position: Position) -> None:
        pass

    def notice(self) -> Notice:
        self.asked += 1
        return Notice.STOP if self.asked == STEPS else Notice.NONE


@pytest.mark.parametrize("recipe", [strong_baseline, transreid])
def test_fit_follows_the_frozen_curve(recipe: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_overrides(recipe("tiny", epochs=24), {"engine.precision": "float64", "engine.device": "cpu"})
    method = METHODS[config.method.kind]

    def filled(config: Config, shape: DataShape) -> Models:
        models = method.build(config, shape).double()
        golden_curves.fill(models)
        return models

    monkeypatch.setitem(METHODS, config.method.kind, dataclasses.replace(method, build=filled))
    context = _Context()
    result = fit(config, _Data(), open_engine(config.engine, world=1), context)
    assert not result.finished
    frozen = (golden_curves.FOLDER / f"{config.recipe}-tiny.txt").read_text().splitlines()[:STEPS]
    assert len(context.steps) == STEPS
    for line, event in zip(frozen, context.steps, strict=True):
        got = {"step": event["step"], "lr": event["lr"], "total": event["total"], **event["losses"]}
        assert got == pytest.approx(golden_curves.numbers(line), rel=1e-9, abs=0)
