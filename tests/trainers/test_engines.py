"""Engines: which one a config gets, number formats, and parameters that no loss reaches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import SGD

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.trainers.config import EngineConfig
from resight.trainers.engines import open_engine
from resight.trainers.engines.ddp import DdpEngine
from resight.trainers.engines.placing import device_for
from resight.trainers.engines.single import SingleEngine
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.fit import fit
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, ToyData, toy_config, toy_wide_config


@pytest.mark.parametrize("kind", ["single", "ddp"])
def test_one_worker_gets_the_single_engine(kind: Any) -> None:
    engine = open_engine(EngineConfig(kind=kind), world=1)
    assert isinstance(engine, SingleEngine)
    assert (engine.rank, engine.world, engine.group) == (0, 1, None)
    assert engine.largest(3, 4) == (3, 4)
    engine.barrier()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="'single' cannot use 2 workers"):
        open_engine(EngineConfig(kind="single"), world=2)
    with pytest.raises(UserError, match="'deepspeed' is not there yet"):
        open_engine(EngineConfig(kind="deepspeed"), world=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    assert device_for(EngineConfig(), 0) == torch.device("cpu")
    with pytest.raises(UserError, match="no CUDA device"):
        device_for(EngineConfig(device="cuda"), 0)


@pytest.mark.parametrize(
    ("precision", "memory_format", "near"),
    [("float32", "contiguous", 1e-4), ("float32", "channels_last", 1e-4), ("bfloat16", "channels_last", 0.1)],
)
def test_formats_compute_about_the_same(tmp_path: Path, precision: str, memory_format: str, near: float) -> None:
    curves: list[list[float]] = []
    for formats in ({}, {"engine__precision": precision, "engine__memory_format": memory_format}):
        config = toy_wide_config(**formats)
        context = NotedContext(tmp_path)
        fit(config, ToyData(config), open_engine(config.engine, world=1), context)
        curves.append(context.totals())
    assert curves[1] == pytest.approx(curves[0], rel=near)
    assert curves[1] != curves[0]


class TwoHeads:
    """A method of one used head, one that no loss reaches, and a memory that its loss writes into."""

    def features(self, models: nn.ModuleDict, batch: Batch, config: object) -> dict[str, Tensor]:
        return {"x": models["used"](batch.images.mean((2, 3)))}

    def losses(
        self, models: nn.ModuleDict, features: dict[str, Tensor], batch: Batch, config: object, state: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        state["seen"] += 1
        return {"square": features["x"].square().sum(), "spread": features["x"].detach().std()}


def models_of(method: TwoHeads) -> tuple[nn.ModuleDict, dict[str, Tensor]]:
    torch.manual_seed(0)
    return nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(2, 2)}), {"seen": torch.tensor(0)}


def on_rank() -> tuple[list[str], dict[str, Tensor], int, Tensor]:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    config = toy_config(engine__precision="float32", engine__kind="ddp")
    method = TwoHeads()
    models, state = models_of(method)
    engine = open_engine(config.engine, world=dist.get_world_size())
    assert isinstance(engine, DdpEngine)
    engine.place(models)
    torch.set_rng_state(before)
    data = ToyData(config)
    batches = list(data.batches(0, 0, rank=engine.rank, world=engine.world))
    whole = WholeLoss(method, models, config, state, engine.group)
    idle = engine.prepare(whole, SGD(models.parameters(), lr=0.01), lambda: batches[0])
    assert torch.equal(torch.get_rng_state(), before), "warming up leaves no trace"
    assert state["seen"] == 0
    for batch in batches:
        engine.backward(engine.forward([batch])["square"])
        engine.step(None)
    engine.barrier()
    return list(idle), models.state_dict(), int(state["seen"]), torch.tensor(engine.largest(engine.rank, 5))


def test_parameters_without_a_gradient_are_named_and_left_alone(ranks: Ranks) -> None:
    results = ranks.run(2, on_rank)
    config = replace(toy_config(engine__precision="float32"))
    method = TwoHeads()
    models, state = models_of(method)
    optimizer = SGD(models.parameters(), lr=0.01)
    for batch in ToyData(config).batches(0, 0, rank=0, world=1):
        optimizer.zero_grad()
        WholeLoss(method, models, config, state, None)(batch)["square"].backward()
        optimizer.step()
    for idle, weights, seen, largest in results:
        assert idle == ["models.idle.weight", "models.idle.bias"]
        assert seen == 3
        assert largest.tolist() == [1, 5]
        for name, value in models.state_dict().items():
            torch.testing.assert_close(weights[name], value, msg=lambda text, n=name: f"{n}: {text}")
