"""What is drawn: independent slots, the wanted chances, and the reference's numbers in plain integers."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.datasets.augment import AugmentConfig, ColourJitter, draws
from resight.datasets.augment.draws import Draws, draw
from tests.reference import augment as reference

JITTER = ColourJitter(probability=0.5, brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1)
CONFIG = AugmentConfig(colour=JITTER)
INTEGERS = {"seed": st.integers(0, 2**63), "epoch": st.integers(0, 2**31), "step": st.integers(0, 2**31)}


def same(one: Draws, other: Draws) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Draws))


@settings(max_examples=60, deadline=None)
@given(**INTEGERS, slots=st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_a_slot_does_not_depend_on_the_other_slots(seed: int, epoch: int, step: int, slots: list[int]) -> None:
    together = draw(CONFIG, seed=seed, epoch=epoch, step=step, slots=slots)
    for place, slot in enumerate(slots):
        alone = draw(CONFIG, seed=seed, epoch=epoch, step=step, slots=[slot])
        picked = Draws(**{field.name: getattr(together, field.name)[place : place + 1] for field in fields(Draws)})
        assert same(alone, picked)


@settings(max_examples=60, deadline=None)
@given(**INTEGERS, slot=st.integers(0, 10_000))
def test_draws_are_the_reference_s(seed: int, epoch: int, step: int, slot: int) -> None:
    drawn = draw(CONFIG, seed=seed, epoch=epoch, step=step, slots=[slot])
    key = reference.slot_key(seed, epoch, step, slot)
    values = [reference.uniform(key, number) for number in range(10)]
    assert drawn.flip[0] == (values[0] < 0.5)
    assert (drawn.top[0], drawn.left[0]) == (int(values[1] * 21), int(values[2] * 21))
    assert drawn.jitter[0] == (values[4] < 0.5)
    strengths = (0.2, 0.3, 0.4, 0.1)
    wanted = [1 + s * (2 * value - 1) for s, value in zip(strengths, values[5:9], strict=True)]
    wanted[3] -= 1
    np.testing.assert_allclose(drawn.colour[0], wanted, atol=1e-15)
    box = reference.box(key, 256, 128, (0.02, 0.4), 0.3, 100, first=16) if values[3] < 0.5 else (0, 0, 0, 0)
    assert tuple(drawn.box[0]) == box


def test_each_of_the_four_integers_matters() -> None:
    base = {"seed": 3, "epoch": 5, "step": 7}
    one = draw(CONFIG, **base, slots=range(8))
    for name in base:
        assert not same(one, draw(CONFIG, **{**base, name: base[name] + 1}, slots=range(8)))
    swapped = draw(CONFIG, seed=5, epoch=3, step=7, slots=range(8))
    assert not same(one, swapped)


def test_chances_and_ranges_are_the_configured_ones() -> None:
    drawn = draw(CONFIG, seed=1, epoch=2, step=3, slots=range(40_000))
    assert abs(drawn.flip.mean() - 0.5) < 0.01
    assert abs(drawn.jitter.mean() - 0.5) < 0.01
    for offset in (drawn.top, drawn.left):
        counts = np.bincount(offset, minlength=21)
        assert len(counts) == 21
        assert np.abs(counts / len(drawn) * 21 - 1).max() < 0.12
    assert abs((drawn.box[:, 2] > 0).mean() - 0.5) < 0.01
    boxes = drawn.box[drawn.box[:, 2] > 0]
    assert (boxes[:, 0] + boxes[:, 2] <= 256).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 128).all()
    area, aspect = boxes[:, 2] * boxes[:, 3] / 256 / 128, boxes[:, 2] / boxes[:, 3]
    assert 0.018 < area.min() < 0.025
    assert 0.38 < area.max() < 0.42
    assert aspect.min() > 0.25
    assert aspect.max() < 4
    reach = np.abs(drawn.colour - (1, 1, 1, 0)).max(axis=0)
    np.testing.assert_allclose(reach, (0.2, 0.3, 0.4, 0.1), rtol=0.01)
    assert np.corrcoef(drawn.flip, drawn.jitter)[0, 1] < 0.02


def test_nothing_is_drawn_where_chances_are_nil() -> None:
    calm = AugmentConfig(flip=0, pad=0, erase=0)
    drawn = draw(calm, seed=0, epoch=0, step=0, slots=range(100))
    assert not any(values.any() for values in (drawn.flip, drawn.top, drawn.left, drawn.box, drawn.jitter))


def test_a_box_that_never_fits_erases_nothing() -> None:
    config = AugmentConfig(erase=1, erase_area=(1.0, 1.0), erase_aspect=1.0, height=8, width=8)
    assert not draw(config, seed=0, epoch=0, step=0, slots=range(10)).box.any()


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_the_kernels_are_plain_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = draw(CONFIG, seed=1, epoch=2, step=3, slots=range(12))
    for name in ("mix", "uniform", "_keys", "_uniforms", "_words", "_boxes"):
        monkeypatch.setattr(draws, name, getattr(draws, name).py_func)
    assert same(compiled, draw(CONFIG, seed=1, epoch=2, step=3, slots=range(12)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("height", 0), ("flip", 1.5), ("pad", -1), ("erase", -0.1), ("erase_area", (0.5, 0.4)), ("erase_aspect", 0.0)],
)
def test_values_outside_their_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(UserError, match=field):
        AugmentConfig(**{field: value})  # type: ignore[arg-type]


def test_colour_strengths_outside_their_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"hue is 0\.6"):
        ColourJitter(hue=0.6)
