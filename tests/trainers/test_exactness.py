"""The number of workers changes nothing: whole runs in float64, single steps in float32, through `train` and `fit`.

float64: every loss of each of 100 steps to 1e-9, in this process, on gloo ranks, under torchrun and on Ray; the draws
of augmentation and drop-path are on, and 20 images on 3 ranks are 7, 7 and 6. Ranks add up the same numbers in another
order, which differs by 1e-16; training then magnifies that, and how much depends on the recipe and not on us. At the
paper's learning rate, taken here, it is a factor of about a thousand in 100 steps. At 3e-3, the rate of size tiny, the
batch-hard triplet is chaotic: two runs in one process whose first weights differ by 1e-15 differ by 1e-2 in the end.

float32: loss and gradient of one step from the same state, at five states along a run, to 1e-5 of the loss and of the
norm of the gradient.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from resight.cluster.session import Session
from resight.trainers.checkpoint import committed
from resight.trainers.config import Config, with_overrides
from resight.trainers.engines import open_engine
from resight.trainers.fit import fit
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid
from resight.trainers.run_folder import RunFolder
from resight.trainers.train import train
from resight.trainers.worker import open_data
from tests.datasets.making import crops, write_dataset
from tests.trainers.ranks import Ranks
from tests.trainers.starting import finish, start
from tests.trainers.toy import NotedContext, with_ddp

METHODS = ("strong_baseline", "transreid")
STEPS = 100
pytestmark = [pytest.mark.timeout(290)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "made"
    write_dataset(crops("train", ids=12, per_id=6), folder)
    return folder


def small(method: str, data: Path, **more: Any) -> Config:
    """The recipe at the paper's learning rate on small pictures: four epochs of 25 steps of 5 x 4 images."""
    config, own = {
        "strong_baseline": (
            strong_baseline("tiny"),
            {
                "model.width": 8,
                "optim.lr": strong_baseline("paper").optim.lr,
                "augment.height": 32,
                "augment.width": 16,
            },
        ),
        "transreid": (
            transreid("tiny"),
            {"model.width": 32, "model.depth": 2, "model.heads": 2, "model.drop_path": 0.2},
        ),
    }[method]
    shared: dict[str, Any] = {
        "data.sources": [str(data)], "data.threads": 1, "engine.device": "cpu", "engine.precision": "float64",
        "augment.height": 64, "augment.width": 32, "augment.pad": 3, "sampler.ids_per_batch": 5,
        "sampler.images_per_id": 4, "sampler.steps_per_epoch": STEPS // 4, "run.epochs": 4,
        "schedule.warmup_epochs": 1, "schedule.period_epochs": 4,
    }  # fmt: skip
    return with_overrides(config, shared | own | more)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """The run of a method in this process, made once."""
    made: dict[str, RunFolder] = {}

    def of(method: str) -> RunFolder:
        if method not in made:
            made[method] = train(small(method, data), out=tmp_path_factory.mktemp("alone") / method)
        return made[method]

    return of


def curves(run: RunFolder) -> dict[str, list[float]]:
    """Every loss, and their weighted sum, by step."""
    steps = [event for event in run.events() if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, STEPS + 1))
    names = steps[0]["losses"]
    return {name: [event["losses"][name] for event in steps] for name in names} | {"total": [e["total"] for e in steps]}


def assert_same_losses(run: RunFolder, other: RunFolder) -> None:
    found, wanted = curves(run), curves(other)
    assert list(found) == list(wanted)
    assert len(set(wanted["total"])) == STEPS
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=0, err_msg=name)


def train_on_rank(config: Config, out: str) -> None:
    """What torchrun tells a process by its environment."""
    told = {"RANK": dist.get_rank(), "WORLD_SIZE": dist.get_world_size(), "LOCAL_RANK": dist.get_rank()}
    os.environ.update({name: str(value) for name, value in told.items()})
    try:
        train(config, out=Path(out))
    finally:
        for name in told:
            del os.environ[name]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("world", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_ranks(
    ranks: Ranks, data: Path, tmp_path: Path, alone: Callable[[str], RunFolder], method: str, world: int
) -> None:
    ranks.run(world, train_on_rank, small(method, data), str(tmp_path / "run"))
    assert_same_losses(RunFolder(tmp_path / "run"), alone(method))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("world", [2, 3, 4])
def test_torchrun(data: Path, tmp_path: Path, alone: Callable[[str], RunFolder], method: str, world: int) -> None:
    code, said = finish(start(small(method, data), tmp_path / "run", world=world))
    assert code == 0, said
    assert_same_losses(RunFolder(tmp_path / "run"), alone(method))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_ray(ray_cluster: Session, data: Path, tmp_path: Path, alone: Callable[[str], RunFolder], method: str) -> None:
    run = train(small(method, data), out=tmp_path / "run", workers=2, backend="ray")
    assert_same_losses(run, alone(method))


def one_step(config: Config, checkpoint: str | None, folder: str) -> tuple[list[float], list[Tensor]]:
    """Go on from a checkpoint for a step; return its losses, and the gradient that the optimiser is given."""
    torch.set_num_threads(1)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    gradients: list[Tensor] = []
    engine = open_engine(config.engine, world=world)
    whole_step = engine.step

    def step(clip_norm: float | None) -> None:
        groups = engine._optimizer.param_groups  # type: ignore[attr-defined]
        gradients.extend(p.grad.double() for group in groups for p in group["params"])
        whole_step(clip_norm)

    engine.step = step  # type: ignore[method-assign]
    context = NotedContext(
        Path(folder), rank=rank, world=world, start=Path(checkpoint) if checkpoint else None, stop_at=1
    )
    with open_data(config, world=world) as loader:
        fit(config, loader, engine, context)
    (event,) = [event for event in context.events if event["event"] == "step"]
    return [*event["losses"].values(), event["total"]], gradients


@pytest.mark.parametrize("method", METHODS)
def test_one_step_in_float32(ranks: Ranks, data: Path, tmp_path: Path, method: str) -> None:
    """At five states of the recipe's own tiny form, learning rate and all: after 0, 6, 12, 16 and 22 steps."""
    recipe = {"strong_baseline": strong_baseline, "transreid": transreid}[method]("tiny")
    own = {"optim.lr": recipe.optim.lr, "run.epochs": 2, "sampler.steps_per_epoch": 16}
    config = small(method, data, **own, **{"engine.precision": "float32"})
    saving = with_overrides(config, {"run.checkpoint_every_steps": 6, "run.keep_last": 9})
    states = [path for path in committed(train(saving, out=tmp_path / "run").checkpoints) if path.name[:4] != "0002"]
    assert len(states) >= 4
    for state in (None, *states[:4]):
        start = str(state) if state else None
        losses, gradients = one_step(config, start, str(tmp_path / "one"))
        size = torch.stack([gradient.norm() for gradient in gradients]).norm()
        for world in (2, 3):
            for found, theirs in ranks.run(world, one_step, with_ddp(config), start, str(tmp_path / "many")):
                np.testing.assert_allclose(found, losses, rtol=1e-5)
                apart = [(a - b).norm() for a, b in zip(theirs, gradients, strict=True)]
                assert torch.stack(apart).norm() <= 1e-5 * size
