"""Fields that make a step fast: how near their numbers are to the plain ones, and that going on is exact."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from resight.trainers.config import Config, EngineConfig, fingerprint
from resight.trainers.engines import open_engine
from resight.trainers.engines.placing import arithmetic, place_batch, place_module
from resight.trainers.fit import fit
from resight.trainers.job import make_job
from resight.trainers.methods import method_of
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, ToyData, toy_config, toy_vit_config, toy_wide_config, with_ddp

Toy = Callable[..., Config]
TOYS = pytest.mark.parametrize("toy", [toy_wide_config, toy_vit_config])


def one_step(config: Config) -> dict[str, Tensor]:
    """Return losses and gradients of the first step."""
    engine = open_engine(config.engine, world=1)
    data, method = ToyData(config), method_of(config)
    models = make_job(config, data, engine).moving.models.train()
    batch = place_batch(next(data.batches(0, 0, rank=0, world=1)), config.engine, engine.device)
    with arithmetic(config.engine, engine.device):
        losses = method.losses(models, method.features(models, batch, config), batch, config, {})
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: value.grad for name, value in models.named_parameters() if value.grad is not None}
    return {name: loss.detach() for name, loss in losses.items()} | gradients


def away(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the distance of all losses and gradients, relative to their norm."""
    assert list(one) == list(other)
    flat = [torch.cat([value.flatten().double() for value in found.values()]) for found in (one, other)]
    return float((flat[1] - flat[0]).norm() / flat[0].norm())


def run(config: Config, folder: Path, **options: Any) -> tuple[list[float], list[str]]:
    torch.set_num_threads(1)
    together = dist.is_initialized()
    rank, world = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
    context = NotedContext(folder, rank=rank, world=world, **options)
    fit(config, ToyData(config), open_engine(config.engine, world=world), context)
    return context.totals(), [str(path) for path in context.saved]


def files(checkpoint: str) -> list[bytes]:
    return [(Path(checkpoint) / name).read_bytes() for name in ("model.safetensors", "optim.safetensors")]


@TOYS
@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-5), ("float64", 1e-12)])
def test_one_step_in_channels_last_is_the_plain_one(toy: Toy, precision: str, near: float) -> None:
    plain = one_step(toy(engine__precision=precision))
    assert away(plain, one_step(toy(engine__precision=precision, engine__memory_format="channels_last"))) < near


@pytest.mark.parametrize(("toy", "near"), [(toy_vit_config, 0.02), (toy_wide_config, 0.6)])
def test_one_step_in_bfloat16_is_near_the_plain_one(toy: Toy, near: float) -> None:
    """The loss to a hundredth; the gradient much less so in a fresh residual network, where ReLUs switch."""
    plain, half = (one_step(toy(engine__precision=precision)) for precision in ("float32", "bfloat16"))
    assert {value.dtype for value in half.values()} == {torch.float32}, "weights and gradients stay in float32"
    assert 0 < away(plain, half) < near
    totals = [sum(value.item() for value in found.values() if value.ndim == 0) for found in (plain, half)]
    assert totals[1] == pytest.approx(totals[0], rel=1e-2)


FAST: dict[str, Any] = {
    "engine__precision": "bfloat16",
    "engine__memory_format": "channels_last",
    "engine__checkpoint_activations": True,
    "optim__loop": "fused",
}


@TOYS
def test_going_on_with_all_of_them_is_bitwise(tmp_path: Path, toy: Toy) -> None:
    config = toy(**FAST)
    whole, saved = run(config, tmp_path / "whole")
    before, stopped = run(config, tmp_path / "parts", stop_at=2)
    after, ended = run(config, tmp_path / "parts", start=Path(stopped[-1]))
    assert before + after == whole
    assert files(ended[-1]) == files(saved[-1])


def test_going_on_with_all_of_them_is_bitwise_with_workers(ranks: Ranks, tmp_path: Path) -> None:
    config = with_ddp(toy_vit_config(**FAST))
    whole = ranks.run(2, run, config, tmp_path / "whole")
    after = ranks.run(2, resumed, config, tmp_path / "parts", Path(whole[0][1][0]))
    assert [result[0] for result in after] == [result[0][3:] for result in whole]
    assert files(after[0][1][-1]) == files(whole[0][1][-1])


def resumed(config: Config, folder: Path, start: Path) -> tuple[list[float], list[str]]:
    return run(config, folder, start=start)


@TOYS
def test_checkpoints_have_the_same_names_and_load_without_the_fields(tmp_path: Path, toy: Toy) -> None:
    """Another memory format is another fingerprint, so the run is refused; its networks load all the same."""
    plain, fast = toy(engine__precision="float32"), toy(**FAST)
    assert fingerprint(plain) != fingerprint(fast)
    (_, one), (_, other) = run(plain, tmp_path / "plain"), run(fast, tmp_path / "fast")
    names = [
        {name: value.shape for name, value in load_file(Path(saved[-1]) / "model.safetensors").items()}
        for saved in (one, other)
    ]
    assert names[0] == names[1]


def test_channels_last_reaches_weights_and_images() -> None:
    config = EngineConfig(memory_format="channels_last")
    layer = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(3, 4, 3)})
    place_module(layer, config, torch.device("cpu"))
    assert layer["conv"].get_parameter("weight").is_contiguous(memory_format=torch.channels_last)
    batch = next(ToyData(toy_config()).batches(0, 0, rank=0, world=1))
    placed = place_batch(batch, config, torch.device("cpu"))
    assert placed.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(placed.images, batch.images)


COMPILING = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch looks at it while it traces


@pytest.mark.slow
@COMPILING
@TOYS
def test_compiled_networks_compute_the_same_and_go_on_bitwise(tmp_path: Path, toy: Toy) -> None:
    """Minutes, most of which the C++ compiler takes."""
    plain, config = toy(engine__precision="float32"), toy(engine__precision="float32", engine__compile=True)
    assert away(one_step(plain), one_step(config)) < 1e-5
    eager, one = run(plain, tmp_path / "plain")
    whole, saved = run(config, tmp_path / "whole")
    assert whole == pytest.approx(eager, rel=1e-4)
    before, stopped = run(config, tmp_path / "parts", stop_at=2)
    after, ended = run(config, tmp_path / "parts", start=Path(stopped[-1]))
    assert before + after == whole
    assert files(ended[-1]) == files(saved[-1])
    names = [list(load_file(Path(each[-1]) / "model.safetensors")) for each in (one, saved)]
    assert names[0] == names[1]


@pytest.mark.slow
@COMPILING
@TOYS
def test_compiled_networks_share_a_batch_between_workers(ranks: Ranks, tmp_path: Path, toy: Toy) -> None:
    plain = with_ddp(toy(engine__precision="float32"))
    config = replace(plain, engine=replace(plain.engine, compile=True))
    eager = ranks.run(2, run, plain, tmp_path / "plain")
    whole = ranks.run(2, run, config, tmp_path / "whole")
    assert whole[0][0] == pytest.approx(eager[0][0], rel=1e-4)
    after = ranks.run(2, resumed, config, tmp_path / "parts", Path(whole[0][1][0]))
    assert [result[0] for result in after] == [result[0][3:] for result in whole]
    assert files(after[0][1][-1]) == files(whole[0][1][-1])


@pytest.mark.slow
@COMPILING
def test_other_shapes_change_no_compiled_number() -> None:
    """A validation with other batch sizes between two steps must not change the second."""
    config = toy_vit_config(engine__precision="float32", engine__compile=True)
    engine, data = open_engine(config.engine, world=1), ToyData(config)
    backbone = make_job(config, data, engine).moving.models["backbone"]
    images = next(data.batches(0, 0, rank=0, world=1)).images
    first = backbone(images)[0]
    for count in (3, 5, 7):
        backbone(images[:count])
    assert torch.equal(backbone(images)[0], first)
