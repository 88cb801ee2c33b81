"""A step's batch in parts: micro-batches whose gradients are averaged, and gradient caching in chunks."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from resight.cluster.errors import UserError
from resight.datasets.batch import joined
from resight.trainers.config import Config
from resight.trainers.engines import open_engine
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.fit import fit, weighted_sum
from resight.trainers.job import make_job
from resight.trainers.methods import method_of
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, ToyData, toy_config, with_ddp

PARTS: dict[str, dict[str, Any]] = {
    "accumulate": {"sampler__accumulate": 2},
    "cached": {"sampler__bn_group": 4},
    "both": {"sampler__accumulate": 2, "sampler__bn_group": 4},
}


def trained(config: Config, folder: Path) -> tuple[list[float], dict[str, Tensor]]:
    torch.set_num_threads(1)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    context = NotedContext(folder, rank=rank, world=world)
    fit(config, ToyData(config), open_engine(config.engine, world=world), context)
    return context.totals(), load_file(context.saved[-1] / "model.safetensors") if rank == 0 else {}


def plain_gradient(config: Config) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and buffers of the first step by plain autograd: one graph over everything, no engine."""
    data = ToyData(config)
    job = make_job(config, data, open_engine(config.engine, world=1))
    method, models = method_of(config), job.moving.models
    parts = list(data.batches(0, 0, rank=0, world=1))[: len(config.sampler.parts)]
    losses: list[Tensor] = []
    for begin in range(0, len(parts), config.sampler.chunks):
        micro = parts[begin : begin + config.sampler.chunks]
        own = [method.features(models, chunk.to("cpu", dtype=torch.float64), config) for chunk in micro]
        features = {name: torch.cat([each[name] for each in own]) for name in own[0]}
        found = method.losses(models, features, joined(micro), config, job.moving.state)
        losses.append(weighted_sum(found, method.weights(config)))
    total = torch.stack(losses).mean()
    total.backward()
    return total.detach(), gradients(models), dict(models.named_buffers())


def engine_gradient(config: Config) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """The same through an engine, as the optimiser gets to see it."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    data, engine = ToyData(config), open_engine(config.engine, world=world)
    job = make_job(config, data, engine)
    models, sampler = job.moving.models, config.sampler
    whole = WholeLoss(job.method, models, config, job.moving.state, engine.group)
    parts = list(data.batches(0, 0, rank=rank, world=world))[: len(sampler.parts)]
    engine.prepare(whole, job.moving.optimizer, lambda: parts[0], cached=sampler.chunks > 1)
    seen: dict[str, Tensor] = {}
    job.moving.optimizer.register_step_pre_hook(lambda *_: seen.update(gradients(models)))
    totals: list[Tensor] = []
    for begin in range(0, len(parts), sampler.chunks):
        losses = engine.forward(parts[begin : begin + sampler.chunks], more=begin + sampler.chunks < len(parts))
        totals.append(weighted_sum(losses, job.method.weights(config)))
        engine.backward(totals[-1] / sampler.accumulate)
    engine.step(None)
    return torch.stack(totals).mean().detach(), seen, dict(models.named_buffers())


def gradients(models: nn.ModuleDict) -> dict[str, Tensor]:
    return {name: value.grad.clone() for name, value in models.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("parts", list(PARTS))
def test_a_step_in_parts_is_plain_autograd_over_all_of_them(ranks: Ranks, parts: str) -> None:
    """Loss, gradient and running statistics, at 1, 2 and 3 workers (4 images on 3: 2, 1 and 1)."""
    config = toy_config(**PARTS[parts])
    total, wanted, buffers = plain_gradient(config)
    found = [engine_gradient(config)]
    for world in (2, 3):
        found += ranks.run(world, engine_gradient, with_ddp(config))
    for got_total, got, got_buffers in found:
        torch.testing.assert_close(got_total, total, rtol=1e-12, atol=0)
        assert list(got) == list(wanted)
        for name, value in wanted.items():
            torch.testing.assert_close(got[name], value, rtol=1e-9, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")
        for name, value in buffers.items():
            torch.testing.assert_close(got_buffers[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("parts", list(PARTS))
def test_any_number_of_workers_computes_the_same(ranks: Ranks, tmp_path: Path, parts: str) -> None:
    config = toy_config(run__epochs=3, optim__clip_norm=5.0, **PARTS[parts])
    totals, weights = trained(config, tmp_path / "one")
    for world in (2, 3):
        together = ranks.run(world, trained, with_ddp(config), tmp_path / f"{world}")
        for other, _ in together:
            torch.testing.assert_close(torch.tensor(other), torch.tensor(totals), rtol=1e-9, atol=1e-12)
        for name, value in weights.items():
            torch.testing.assert_close(together[0][1][name], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("parts", list(PARTS))
def test_going_on_is_bitwise(tmp_path: Path, parts: str) -> None:
    config = toy_config(engine__precision="float32", **PARTS[parts])
    whole, weights = trained(config, tmp_path / "whole")
    first = NotedContext(tmp_path / "first", stop_at=4)
    fit(config, ToyData(config), open_engine(config.engine, world=1), first)
    rest = NotedContext(tmp_path / "rest", start=first.saved[-1])
    fit(config, ToyData(config), open_engine(config.engine, world=1), rest)
    assert first.totals() + rest.totals() == whole
    for name, value in load_file(rest.saved[-1] / "model.safetensors").items():
        assert torch.equal(value, weights[name]), name


def test_another_cut_is_another_run() -> None:
    """Batch statistics and mining see other images, so nothing here may be a mere matter of speed."""
    totals = {parts: plain_gradient(toy_config(**options))[0].item() for parts, options in PARTS.items()}
    totals["whole"] = plain_gradient(toy_config())[0].item()
    assert len(set(totals.values())) == 4, totals


def test_cuts_that_do_not_come_out_even_are_refused() -> None:
    with pytest.raises(UserError, match="4 identities cannot be shared out to 3 micro-batches"):
        toy_config(sampler__accumulate=3)
    with pytest.raises(UserError, match="16 images cannot be cut into groups of 5"):
        toy_config(sampler__bn_group=5)
    assert toy_config(sampler__accumulate=2, sampler__bn_group=2).sampler.parts[3] == range(6, 8)
