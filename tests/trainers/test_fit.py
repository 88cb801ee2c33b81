"""The loop: one worker and several compute the same; resuming is exact; a loss that is not finite stops it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from resight.cluster.errors import UserError
from resight.trainers.checkpoint import Position
from resight.trainers.config import Config
from resight.trainers.engines import open_engine
from resight.trainers.fit import FitResult, fit, weighted_sum
from resight.trainers.nonfinite import NonFiniteLoss
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, ToyData, toy_config, with_ddp


def run(config: Config, folder: Path, **options: Any) -> tuple[FitResult, NotedContext]:
    torch.set_num_threads(1)
    poison = options.pop("poison", None)
    context = NotedContext(folder, **options)
    engine = open_engine(config.engine, world=1)
    return fit(config, ToyData(config, poison=poison), engine, context), context


def on_rank(config: Config, folder: str, options: dict[str, Any]) -> tuple[list[float], list[str]]:
    rank, world = dist.get_rank(), dist.get_world_size()
    poison = options.pop("poison", None)
    context = NotedContext(Path(folder), rank=rank, world=world, **options)
    engine = open_engine(config.engine, world=world)
    fit(config, ToyData(config, poison=poison), engine, context)
    return context.totals(), [str(path) for path in context.saved]


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_workers_computes_the_same(ranks: Ranks, tmp_path: Path, world: int) -> None:
    """16 images on 3 ranks are 6, 5 and 5; 12 steps of Adam in float64."""
    config = toy_config(run__epochs=4, optim__clip_norm=5.0)
    _, alone = run(config, tmp_path / "one")
    together = ranks.run(world, on_rank, with_ddp(config), str(tmp_path / "many"), {})
    for totals, _ in together:
        assert len(totals) == 12
        torch.testing.assert_close(torch.tensor(totals), torch.tensor(alone.totals()), rtol=1e-9, atol=1e-12)
    mine = load_file(alone.saved[-1] / "model.safetensors")
    theirs = load_file(Path(together[0][1][-1]) / "model.safetensors")
    assert list(mine) == list(theirs)
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-7, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")


def test_the_loss_falls(tmp_path: Path) -> None:
    _, context = run(toy_config(run__epochs=20, optim__lr=0.01), tmp_path)
    totals = context.totals()
    assert sum(totals[-6:]) < 0.7 * sum(totals[:6])


def test_events_tell_the_story(tmp_path: Path) -> None:
    result, context = run(toy_config(run__log_every_steps=2), tmp_path)
    assert result == FitResult(position=Position(epoch=2, step=6), finished=True)
    kinds = [event["event"] for event in context.events]
    assert kinds == ["start", "step", "epoch", "step", "step", "epoch", "finish"]
    start, step, epoch = context.events[:3]
    assert start["steps_total"] == 6
    assert (step["step"], step["epoch"], set(step["losses"])) == (2, 0, {"id", "triplet"})
    assert step["total"] == pytest.approx(sum(step["losses"].values()))
    assert step["images_per_s"] > 0
    assert step["step_s"] >= step["data_s"] >= 0
    assert (epoch["step"], set(epoch["losses"])) == (3, {"id", "triplet"})
    assert [path.name for path in context.saved] == ["0001-0000003", "0002-0000006"]


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6])
def test_going_on_is_bitwise(tmp_path: Path, stop_at: int) -> None:
    """Six steps are `stop_at` steps and the rest, wherever in an epoch it stops."""
    config = toy_config(engine__precision="float32")
    _, whole = run(config, tmp_path / "whole")
    first, before = run(config, tmp_path / "parts", stop_at=stop_at)
    assert not first.finished
    assert first.position.step == stop_at
    second, after = run(config, tmp_path / "parts", start=before.saved[-1])
    assert second.finished
    assert before.totals() + after.totals() == whole.totals()
    assert same_files(whole.saved[-1], after.saved[-1])
    assert after.events[0]["event"] == "resume"
    assert after.events[0]["step"] == stop_at


@pytest.mark.parametrize("world", [2, 3])
def test_going_on_is_bitwise_with_workers(ranks: Ranks, tmp_path: Path, world: int) -> None:
    config = with_ddp(toy_config(engine__precision="float32"))
    whole = ranks.run(world, on_rank, config, str(tmp_path / "whole"), {})
    before = ranks.run(world, on_rank, config, str(tmp_path / "parts"), {"stop_at": 2})
    start = Path(before[0][1][-1])
    after = ranks.run(world, on_rank, config, str(tmp_path / "parts"), {"start": start})
    for rank in range(world):
        assert before[rank][0] + after[rank][0] == whole[rank][0]
    assert same_files(Path(whole[0][1][-1]), Path(after[0][1][-1]))


def test_other_number_of_workers_may_go_on(ranks: Ranks, tmp_path: Path) -> None:
    config = toy_config()
    _, whole = run(config, tmp_path / "whole")
    before = ranks.run(3, on_rank, with_ddp(config), str(tmp_path / "parts"), {"stop_at": 2})
    _, after = run(config, tmp_path / "parts", start=Path(before[0][1][-1]))
    totals = before[0][0] + after.totals()
    torch.testing.assert_close(torch.tensor(totals), torch.tensor(whole.totals()), rtol=1e-9, atol=1e-12)


def test_checkpoints_within_an_epoch(tmp_path: Path) -> None:
    _, context = run(toy_config(run__checkpoint_every_steps=2), tmp_path)
    names = [path.name for path in context.saved]
    assert names == ["0000-0000002", "0001-0000003", "0001-0000005", "0002-0000006"]


def test_checkpoints_every_other_epoch_and_at_the_end(tmp_path: Path) -> None:
    _, context = run(toy_config(run__checkpoint_every_epochs=2, run__epochs=3), tmp_path)
    assert [path.name[:4] for path in context.saved] == ["0002", "0003"]


def test_stops_before_the_step_of_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    config = toy_config(run__checkpoint_every_steps=1)
    with pytest.raises(NonFiniteLoss) as caught:
        run(config, tmp_path, poison=Position(epoch=1, step=1))
    text = str(caught.value)
    assert "step 5, epoch 1" in text
    assert "images of rank 0 hold NaN" in text
    assert "toy/15" in text
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == "0001-0000004"


def test_every_rank_stops_and_knows_whose_images(ranks: Ranks, tmp_path: Path) -> None:
    options = {"poison": Position(epoch=0, step=2)}
    with pytest.raises(AssertionError) as caught:
        ranks.run(2, on_rank, with_ddp(toy_config()), str(tmp_path), options)
    text = str(caught.value)
    assert text.count("NonFiniteLoss: the loss is not finite") == 2
    assert text.count("the images of rank 1 hold NaN") == 2
    assert "toy/15" in text


def test_a_diverged_network_is_told_from_broken_images(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLoss, match="all images of the batch are finite"):
        run(toy_config(method__identity_weight=1e308, optim__lr=1e300, run__epochs=3), tmp_path)


def test_other_data_is_refused_on_going_on(tmp_path: Path) -> None:
    config = toy_config()
    _, context = run(config, tmp_path, stop_at=1)
    again = NotedContext(tmp_path, start=context.saved[-1])
    with pytest.raises(UserError, match="another data set: steps_per_epoch was 3 and is 4"):
        fit(config, ToyData(config, steps=4), open_engine(config.engine, world=1), again)


def test_a_weight_needs_its_loss() -> None:
    with pytest.raises(UserError, match="'tripled' has no loss"):
        weighted_sum({"triplet": torch.ones(())}, {"tripled": 1.0})
    total = weighted_sum({"a": torch.tensor(2.0), "accuracy": torch.tensor(9.0)}, {"a": 0.5})
    assert total.item() == 1.0


def same_files(one: Path, other: Path) -> bool:
    names = ("model.safetensors", "optim.safetensors")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
