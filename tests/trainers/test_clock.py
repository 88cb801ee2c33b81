"""Where a step's time went: parts never overlap, waiting for another rank is no computing, marks may come late."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import SGD

from resight.datasets.batch import Batch
from resight.trainers.clock import PARTS, Clock, cpu_mark, waiting
from resight.trainers.engines import open_engine
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.fit import fit
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, ToyData, toy_config

SLOW_S = 0.15


class Ticks:
    """Marks a second apart; `passed` of them lie behind."""

    def __init__(self) -> None:
        self.made = 0
        self.passed = 10**9

    def __call__(self) -> "Tick":
        self.made += 1
        return Tick(self, self.made)


class Tick:
    def __init__(self, ticks: Ticks, at: int) -> None:
        self.ticks, self.at = ticks, at

    def query(self) -> bool:
        return self.at <= self.ticks.passed

    def elapsed_time(self, end_event: Any, /) -> float:
        assert end_event.query()
        return 1000.0 * (end_event.at - self.at)


def test_inner_spans_take_their_time_from_the_outer_one() -> None:
    clock = Clock(Ticks())
    with clock.span("forward"), waiting(clock):  # a second before, one inside, one after
        pass
    with clock.span("backward"):
        pass
    with waiting(None):
        pass
    assert clock.read() == {"forward": 2.0, "backward": 1.0, "communication": 1.0, "optimiser": 0.0}
    assert clock.read() == dict.fromkeys(PARTS, 0.0)


def test_what_the_device_has_not_reached_is_read_later() -> None:
    ticks = Ticks()
    clock = Clock(ticks)
    with clock.span("forward"):
        pass
    ticks.passed = ticks.made
    with clock.span("optimiser"):
        pass
    assert clock.read()["forward"] == 1
    assert clock.read()["optimiser"] == 0
    ticks.passed = ticks.made
    assert clock.read()["optimiser"] == 1


def test_a_span_costs_microseconds() -> None:
    clock = Clock(cpu_mark)
    begin = time.process_time()
    for _ in range(2000):
        with clock.span("forward"):
            pass
        clock.read()
    assert (time.process_time() - begin) / 2000 < 1e-4


class SlowRank:
    """A linear layer; rank 1 is slow in the part that `where` names, between two things both ranks do."""

    def __init__(self, where: str) -> None:
        self.where = where

    def features(self, models: nn.ModuleDict, batch: Batch, config: object) -> dict[str, Tensor]:
        x = batch.images.mean((2, 3))
        if self.where == "forward" and dist.get_rank() == 1:
            time.sleep(SLOW_S)
        x = _Slow.apply(x.requires_grad_()) if self.where == "hidden" else x
        out = models["layer"](x)
        return {"x": _Slow.apply(out) if self.where == "backward" else out}

    def losses(
        self, models: nn.ModuleDict, features: dict[str, Tensor], batch: Batch, config: object, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {"square": features["x"].square().sum()}


class _Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        if dist.get_rank() == 1:
            time.sleep(SLOW_S)
        return grad_outputs[0]


def on_rank(where: str) -> dict[str, float]:
    config = toy_config(engine__precision="float32", engine__kind="ddp")
    models = nn.ModuleDict({"layer": nn.Linear(3, 2)})
    engine = open_engine(config.engine, world=2)
    engine.place(models)
    batch = next(ToyData(config).batches(0, 0, rank=engine.rank, world=2))
    whole = WholeLoss(SlowRank(where), models, config, {}, engine.group, engine.clock)
    engine.prepare(whole, SGD(models.parameters(), lr=0.01), lambda: batch)
    engine.barrier()
    engine.clock.read()
    engine.backward(engine.forward([batch])["square"])
    engine.step(None)
    return engine.clock.read()


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_waiting_for_a_slow_rank_is_communication(ranks: Ranks, where: str) -> None:
    """Forward in the gathering; backward in DDP, after the last gradient."""
    fast, slow = ranks.run(2, on_rank, where)
    assert slow[where] > 0.9 * SLOW_S
    assert fast["communication"] > 0.6 * SLOW_S
    assert fast[where] < 0.5 * SLOW_S


def test_what_is_hidden_behind_the_backward_pass_is_not_communication(ranks: Ranks) -> None:
    """The weights' gradients travel while rank 1 still computes that of its input."""
    for found, least in zip(ranks.run(2, on_rank, "hidden"), (0, 0.9 * SLOW_S), strict=True):
        assert found["backward"] > least
        assert found["communication"] < 0.5 * SLOW_S


@pytest.mark.parametrize("every", [1, 2])
def test_parts_make_up_the_step(tmp_path: Path, every: int) -> None:
    config = toy_config(run__log_every_steps=every, run__epochs=2, engine__peak_tflops=0.001)
    context = NotedContext(tmp_path)
    fit(config, ToyData(config, steps=4), open_engine(config.engine, world=1), context)
    told = [event for event in context.events if event["event"] in ("step", "epoch")]
    assert len(told) == 8 // every + 2
    for event in told:
        parts = [event[f"{part}_s"] for part in ("data", *PARTS)]
        assert min(parts[:3]) > 0
        assert sum(parts) <= event["step_s"]
        assert event["images_per_s"] == pytest.approx(16 / event["step_s"])
    start, epochs = context.events[0], [event for event in told if event["event"] == "epoch"]
    assert (start["peak_tflops"], start["peak_from"]) == (0.001, "engine.peak_tflops")
    for event in epochs:
        assert event["mfu"] == pytest.approx(start["operations_per_image"] * event["images_per_s"] / 1e9)
        assert event["peak_memory_mib"] > 50
        assert sum(event["seconds"] for event in epochs) > 0
