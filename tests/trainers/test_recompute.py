"""Activation checkpointing: the same losses, gradients and running statistics to the bit, for less memory."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.trainers.config import Config, EngineConfig, fingerprint
from resight.trainers.engines import open_engine
from resight.trainers.engines.placing import arithmetic, place_batch, place_module
from resight.trainers.fit import fit
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape, Models
from resight.trainers.models.recompute import recomputed, set_recompute
from resight.trainers.norm import GlobalBatchNorm
from tests.trainers.ranks import Ranks
from tests.trainers.toy import (
    CAMERAS,
    CLASSES,
    NotedContext,
    ToyData,
    toy_config,
    toy_vit_config,
    toy_wide_config,
    with_ddp,
)

CPU = torch.device("cpu")
Toy = Callable[..., Config]


def with_blocks_again(config: Config) -> Config:
    return replace(config, engine=replace(config.engine, checkpoint_activations=True))


def built(config: Config) -> tuple[Models, Batch]:
    shape = DataShape(
        num_classes=CLASSES, num_cameras=CAMERAS, height=config.augment.height, width=config.augment.width
    )
    models = method_of(config).build(config, shape)
    place_module(models, config.engine, CPU)
    batch = next(ToyData(config).batches(0, 0, rank=0, world=1))
    return models.train(), place_batch(batch, config.engine, CPU)


def observed(config: Config, passes: int = 1) -> tuple[dict[str, Tensor], int]:
    """Return losses, gradients and buffers after `passes` forward passes and their backward, and the bytes kept."""
    models, batch = built(config)
    method, kept = method_of(config), dict[int, int]()

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    found: dict[str, Tensor] = {}
    with saved_tensors_hooks(keep, lambda tensor: tensor), arithmetic(config.engine, CPU):
        for _ in range(passes):
            losses = method.losses(models, method.features(models, batch, config), batch, config, {})
            found = {name: found.get(name, 0) + loss for name, loss in losses.items()}
    for parameter in models.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    torch.stack(list(found.values())).sum().backward()
    gradients = {name: value.grad for name, value in models.named_parameters() if value.grad is not None}
    return found | gradients | dict(models.named_buffers()), sum(kept.values())


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("toy", [toy_wide_config, toy_vit_config])
def test_numbers_are_the_same_to_the_bit(toy: Toy, precision: str, passes: int) -> None:
    """Two passes before the backward one: each block has two pasts, and takes the right one."""
    config = toy(engine__precision=precision)
    plain, _ = observed(config, passes)
    again, _ = observed(with_blocks_again(config), passes)
    assert list(again) == list(plain)
    assert sum(name.endswith("weight") for name in plain) > 10
    for name, value in plain.items():
        assert torch.equal(again[name], value), name


@pytest.mark.parametrize(
    ("toy", "bigger", "share"),
    [
        (toy_config, {"model__depth": 34, "model__width": 8, "augment__height": 64, "augment__width": 32}, 0.5),
        (toy_vit_config, {"model__depth": 12}, 0.35),
    ],
)
def test_much_less_is_kept(toy: Toy, bigger: dict[str, Any], share: float) -> None:
    config = toy(engine__precision="float32", **bigger)
    _, everything = observed(config)
    _, inputs = observed(with_blocks_again(config))
    assert inputs < share * everything


def on_rank(config: Config, folder: str) -> tuple[list[float], list[str]]:
    context = NotedContext(Path(folder), rank=dist.get_rank(), world=dist.get_world_size())
    fit(config, ToyData(config), open_engine(config.engine, world=dist.get_world_size()), context)
    return context.totals(), [str(path) for path in context.saved]


@pytest.mark.parametrize("toy", [toy_config, toy_vit_config])
def test_two_ranks_stay_in_step(ranks: Ranks, tmp_path: Path, toy: Toy) -> None:
    """Whole runs are the same to the bit: statistics over both ranks are found once and repeated."""
    config = with_ddp(toy(engine__precision="float32"))
    plain = ranks.run(2, on_rank, config, str(tmp_path / "plain"))
    again = ranks.run(2, on_rank, with_blocks_again(config), str(tmp_path / "again"))
    assert [totals for totals, _ in plain] == [totals for totals, _ in again]
    one, other = (Path(result[0][1][-1]) for result in (plain, again))
    for name in ("model.safetensors", "optim.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_it_is_no_part_of_the_fingerprint() -> None:
    assert fingerprint(with_blocks_again(toy_config())) == fingerprint(toy_config())


def test_a_copy_has_blocks_of_its_own() -> None:
    models, batch = built(with_blocks_again(toy_config()))
    twin = copy.deepcopy(models)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert twin["backbone"](batch.images).abs().sum() == 0
    assert models["backbone"](batch.images).abs().sum() > 0


def test_nothing_is_kept_for_a_pass_without_gradients() -> None:
    norm = GlobalBatchNorm(3)
    with torch.no_grad():
        recomputed(nn.Sequential(norm), torch.randn(4, 3))
    assert norm.num_batches_tracked == 1


def test_torchs_own_batch_norm_is_refused_in_a_block() -> None:
    with pytest.raises(AssertionError, match="GlobalBatchNorm"):
        recomputed(nn.Sequential(nn.BatchNorm1d(3)), torch.randn(4, 3))


def test_networks_without_blocks_are_refused() -> None:
    module = nn.ModuleDict({"head": nn.Linear(2, 2)})
    assert set_recompute(module, True) == 0
    with pytest.raises(UserError, match="none of the networks"):
        place_module(module, EngineConfig(checkpoint_activations=True), CPU)


def test_compiling_and_recomputing_exclude_each_other() -> None:
    with pytest.raises(UserError, match="chooses itself") as caught:
        EngineConfig(compile=True, checkpoint_activations=True)
    assert caught.value.where == "engine.checkpoint_activations"
