"""The network's draws: a pure function of where they are used, with the promised rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.datasets.augment import AugmentConfig
from resight.datasets.augment import draws as augment
from resight.trainers import draws
from resight.trainers.draws import drop_path

RATES = (0.0, 0.25, 0.5, 0.9)


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 500), st.integers(0, 9999), st.integers(1, 40), st.data())
def test_a_slice_has_the_draws_of_the_whole(seed: int, epoch: int, step: int, total: int, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, total))
    end = data.draw(st.integers(begin, total))
    whole = drop_path(RATES, seed=seed, epoch=epoch, step=step, slots=range(total))
    part = drop_path(RATES[:3], seed=seed, epoch=epoch, step=step, slots=range(begin, end))
    assert whole.shape == (4, 2, total)
    np.testing.assert_array_equal(part, whole[:3, :, begin:end])


def test_what_is_kept_is_scaled_so_that_the_mean_is_one() -> None:
    drawn = drop_path(RATES, seed=3, epoch=1, step=2, slots=range(20_000))
    for layer, rate in enumerate(RATES):
        np.testing.assert_allclose(np.unique(drawn[layer]), [0.0, 1 / (1 - rate)] if rate else [1.0])
        assert drawn[layer].mean() == pytest.approx(1, abs=0.05)
        assert (drawn[layer] == 0).mean() == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"step": 1}, {"slots": range(1, 65)}])
def test_every_number_matters(change: dict[str, object]) -> None:
    where = {"seed": 0, "epoch": 0, "step": 0, "slots": range(64)}
    before, after = (drop_path((0.5,) * 6, **place) for place in (where, where | change))  # pyright: ignore[reportArgumentType]
    assert 0.3 < (before != after).mean() < 0.7


def test_layers_and_branches_are_drawn_apart_and_apart_from_the_augmentation() -> None:
    drawn = drop_path((0.5,) * 4, seed=0, epoch=0, step=0, slots=range(500)).reshape(8, 500)
    agreement = (drawn[:, None] == drawn[None]).mean(-1)[~np.eye(8, dtype=bool)]
    assert (np.abs(agreement - 0.5) < 0.1).all()
    flips = augment.draw(AugmentConfig(), seed=0, epoch=0, step=0, slots=range(500)).flip
    assert abs((flips == (drawn[0] == 0)).mean() - 0.5) < 0.1


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_the_kernel_is_plain_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = drop_path(RATES, seed=1, epoch=2, step=3, slots=range(9))
    for name in ("mix", "uniform"):
        monkeypatch.setattr(augment, name, getattr(augment, name).py_func)
        monkeypatch.setattr(draws, name, getattr(augment, name))
    monkeypatch.setattr(draws, "_uniforms", getattr(draws, "_uniforms").py_func)  # noqa: B009
    np.testing.assert_array_equal(drop_path(RATES, seed=1, epoch=2, step=3, slots=range(9)), compiled)
