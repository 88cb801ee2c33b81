"""Schedules against the values that the published code gave when it ran; parameter groups against what papers say."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from resight.cluster.errors import UserError
from resight.trainers.optim import OptimConfig, ScheduleConfig, lr_at, make_optimizer, set_lr
from resight.trainers.schedule import lr_at_time
from tests.reference.schedules import STRONG_BASELINE, TRANSREID, TRANSREID_SSL

BOT = ScheduleConfig()
COSINE = ScheduleConfig(kind="cosine", warmup_epochs=5)
SSL = ScheduleConfig(kind="cosine", warmup_epochs=20, first=0)


@pytest.mark.parametrize(
    ("schedule", "base", "golden"),
    [(BOT, 3.5e-4, STRONG_BASELINE), (COSINE, 0.008, TRANSREID), (SSL, 4e-4, TRANSREID_SSL)],
)
def test_golden_learning_rates(schedule: ScheduleConfig, base: float, golden: dict[int, float]) -> None:
    for time, wanted in golden.items():
        assert lr_at_time(schedule, base, time) == pytest.approx(wanted, rel=1e-5), time


def test_the_first_epoch_trains_with_the_published_value() -> None:
    optim = OptimConfig(lr=3.5e-4)
    assert lr_at(BOT, optim, 0) == pytest.approx(3.815e-5)
    assert lr_at(BOT, optim, 39) == pytest.approx(3.5e-5)
    assert lr_at(SSL, OptimConfig(lr=4e-4), 0) == pytest.approx(4e-6)


def test_cosine_shares_warm_up_start_and_floor_between_groups() -> None:
    assert lr_at_time(COSINE, 0.008, 0, scale=2) == pytest.approx(8e-5)
    assert lr_at_time(COSINE, 0.008, 120, scale=2) == pytest.approx(1.6e-5)
    assert lr_at_time(COSINE, 0.008, 60, scale=2) == pytest.approx(1.6e-5 + (0.016 - 1.6e-5) / 2)


def test_multistep_scales_the_whole_course() -> None:
    for time in (0, 3, 20, 50, 100):
        assert lr_at_time(BOT, 1e-3, time, scale=2) == pytest.approx(2 * lr_at_time(BOT, 1e-3, time))


@settings(deadline=None)
@given(st.integers(0, 130), st.integers(0, 49))
def test_steps_matter_only_where_the_schedule_says_so(epoch: int, step: int) -> None:
    optim = OptimConfig()
    assert lr_at(COSINE, optim, epoch, step, steps_per_epoch=50) == lr_at(COSINE, optim, epoch)
    smooth = dataclasses.replace(COSINE, change="step")
    here, there = (lr_at(smooth, optim, epoch, at, steps_per_epoch=50) for at in (0, step))
    assert here == lr_at(COSINE, optim, epoch)
    assert (there <= here) == (step == 0 or epoch + 1 >= COSINE.warmup_epochs)


@settings(deadline=None)
@given(st.integers(0, 200))
def test_the_rate_is_positive_and_never_above_the_base(epoch: int) -> None:
    for schedule in (BOT, COSINE, SSL):
        assert 0 < lr_at(schedule, OptimConfig(lr=0.1), epoch) <= 0.1 * (1 + 1e-12)


def _network() -> nn.Module:
    network = nn.ModuleDict({"a": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4), "b": nn.Linear(4, 2, bias=False)})
    for parameter in network["norm"].parameters():
        parameter.requires_grad_(False)
    network["norm"].weight.requires_grad_(True)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return network


def test_one_group_holds_every_trainable_parameter_by_name() -> None:
    (group,) = make_optimizer(_network(), OptimConfig()).param_groups
    assert group["param_names"] == ["a.weight", "a.bias", "norm.weight", "b.weight"]
    assert (group["lr"], group["weight_decay"], group["scale"]) == (3.5e-4, 5e-4, 1.0)


@pytest.mark.parametrize(
    ("undecayed", "spared"),
    [("none", set[str]()), ("biases", {"a.bias"}), ("vectors", {"a.bias", "norm.weight"})],
)
def test_weight_decay_spares_whom_it_should(undecayed: Any, spared: set[str]) -> None:
    groups = make_optimizer(_network(), OptimConfig(undecayed=undecayed)).param_groups
    assert {name for group in groups if group["weight_decay"] == 0 for name in group["param_names"]} == spared


def test_biases_get_their_own_rate() -> None:
    optim = OptimConfig(kind="sgd", lr=0.008, weight_decay=1e-4, bias_lr_scale=2)
    optimizer = make_optimizer(_network(), optim)
    assert set_lr(optimizer, COSINE, optim, 59) == pytest.approx(0.004008)
    rates = {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}
    assert rates["a.bias"] == pytest.approx(0.008008)
    assert rates["a.weight"] == rates["norm.weight"] == pytest.approx(0.004008)


@pytest.mark.parametrize(
    ("kind", "wanted"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_kinds(kind: Any, wanted: type[torch.optim.Optimizer]) -> None:
    assert type(make_optimizer(_network(), OptimConfig(kind=kind))) is wanted


def _after_steps(kind: Any, loop: Any, steps: int = 5) -> list[torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(40, 30), nn.Conv1d(1, 4, 3), nn.Linear(28, 3))
    config = OptimConfig(kind=kind, loop=loop, lr=0.01, undecayed="biases", bias_lr_scale=2)
    optimizer = make_optimizer(network, config)
    for _ in range(steps):
        network(torch.randn(6, 1, 40)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return [parameter.detach() for parameter in network.parameters()]


@pytest.mark.parametrize("loop", ["auto", "foreach", "fused"])
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_all_loops_go_the_same_way(kind: Any, loop: Any) -> None:
    for one, other in zip(_after_steps(kind, "each"), _after_steps(kind, loop), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_parameters_without_a_fused_kernel_are_refused() -> None:
    network = nn.ParameterDict({"phase": nn.Parameter(torch.zeros(2, dtype=torch.complex64))})
    with pytest.raises(UserError, match="no fused kernel for 'phase'") as caught:
        make_optimizer(network, OptimConfig(loop="fused"))
    assert caught.value.where == "optim.loop"
    make_optimizer(network, OptimConfig(loop="foreach"))


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: OptimConfig(lr=0), "optim.lr"),
        (lambda: OptimConfig(lr=float("nan")), "optim.lr"),
        (lambda: OptimConfig(betas=(0.9, 1.0)), "optim.betas"),
        (lambda: OptimConfig(clip_norm=-1), "optim.clip_norm"),
        (lambda: ScheduleConfig(milestones=(70, 40)), "schedule.milestones"),
        (lambda: ScheduleConfig(warmup_factor=2), "schedule.warmup_factor"),
    ],
)
def test_impossible_settings_are_refused_by_name(make: Any, where: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.where == where
