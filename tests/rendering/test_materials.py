"""Patterns: their mean, their period, and that they fade instead of aliasing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.rendering.appearance import KINDS, material
from resight.rendering.materials import mottle, pattern, pulse, value_noise

BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _look(kind: str, **changes: object) -> np.ndarray:
    row = material(kind, BLACK, **{"second": WHITE, **changes})  # type: ignore[arg-type]
    return np.concatenate([row, [np.cos(row[8]), np.sin(row[8])]]).astype(np.float64)[None]


def _share(
    look: np.ndarray, u: float, v: float, *, along: float = 0.5, side: int = 1, footprint: float = 1e-4
) -> float:
    return pattern(look, 0, u, v, along, side, footprint)[0]


def _grid(look: np.ndarray, metres: float = 1.0, steps: int = 89, **kwargs: float) -> np.ndarray:
    places = (np.arange(steps) + 0.5) * metres / steps
    return np.array([[_share(look, u, v, **kwargs) for u in places] for v in places])  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(duty=st.floats(0.05, 0.95), width=st.floats(0.01, 0.9), shift=st.floats(-3, 3))
def test_a_filtered_pulse_keeps_its_mean(duty: float, width: float, shift: float) -> None:
    steps = (np.arange(400) + 0.5) / 400 + shift
    values = [pulse(t, duty, width) for t in steps.tolist()]
    assert 0 <= min(values) <= max(values) <= 1
    exact = np.mean(values)
    assert exact == pytest.approx(duty, abs=0.02) or width > min(duty, 1 - duty)  # wider than a stripe: only bounded


def test_stripes_have_the_period_the_angle_and_the_duty_they_are_given() -> None:
    look = _look("stripes", scale=10.0, duty=0.3)
    across = np.array([_share(look, 0.0, v) for v in np.linspace(0, 1, 1000, endpoint=False)])
    assert np.mean(across) == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(across[:900], across[100:], atol=0.05)
    assert np.ptp([_share(look, u, 0.037) for u in np.linspace(0, 1, 50)]) == 0
    upright = _look("stripes", scale=10.0, angle=np.pi / 2)
    assert np.ptp([_share(upright, 0.037, v) for v in np.linspace(0, 1, 50)]) < 1e-6


@pytest.mark.parametrize("kind", ["stripes", "checks", "dots", "plaid"])
def test_patterns_fade_to_their_mean_when_finer_than_a_pixel(kind: str) -> None:
    look = _look(kind, scale=5.0, duty=0.4)
    near, far = _grid(look), _grid(look, footprint=0.5)
    assert np.ptp(near) > 0.4
    assert np.ptp(far) < 0.01
    assert far.mean() == pytest.approx(near.mean(), abs=0.03)


def test_noise_follows_its_duty_and_its_seed() -> None:
    few, many = (_grid(_look("noise", scale=12.0, duty=duty)) for duty in (0.35, 0.65))
    assert 0.02 < few.mean() < 0.4 < 0.6 < many.mean() < 0.98
    other = _grid(_look("noise", scale=12.0, duty=0.35, seed=99))
    assert np.abs(few - other).mean() > 0.1


def test_a_logo_is_on_its_side_mirrored_and_nowhere_else() -> None:
    look = _look("logo", scale=20.0, seed=3, duty=0.6, centre=(0.0, 0.3))
    places = (np.arange(50) + 0.5) / 50 * 0.4 - 0.2
    glyph = np.array([[_share(look, u, 0.3 + v) for u in places] for v in places])
    assert 0.1 < glyph.mean() < 0.5
    np.testing.assert_array_equal(glyph, glyph[:, ::-1])
    assert glyph[:, np.abs(places) > 0.125].max() == 0
    for side in (0, -1):
        assert max(_share(look, u, 0.3, side=side) for u in places) == 0
    assert _grid(_look("logo", scale=20.0, angle=np.pi, centre=(0.5, 0.5)), side=-1).max() == 1


def test_a_face_has_two_eyes_and_a_mouth_in_front() -> None:
    look = _look("face")
    places = np.linspace(-0.07, 0.07, 57)
    row = np.array([_share(look, u, 0.0, along=0.42) for u in places])
    np.testing.assert_allclose(row, row[::-1], atol=1e-12)
    assert row[28] == 0
    assert 0.9 < row.max() <= 1
    assert _share(look, 0.0, 0.0, along=0.82) > 0.3
    assert _share(look, 0.032, 0.0, along=0.42, side=-1) == 0


def test_noise_is_smooth_and_repeats_nowhere_near() -> None:
    values = np.array([value_noise(u, 0.3, 5) for u in np.linspace(-3, 3, 601)])
    assert 0 <= values.min() < values.max() < 1
    assert np.abs(np.diff(values)).max() < 0.05
    assert value_noise(1.0, 2.0, 5) != value_noise(2.0, 1.0, 5)


def test_mottle_varies_about_one_and_not_at_all_without_an_amount() -> None:
    noise = [value_noise(24 * u, 2.6, 105) for u in np.linspace(0, 1, 80)]
    factors = np.array([mottle(0.3, value) for value in noise])
    assert np.ptp(factors) > 0.1
    assert factors.mean() == pytest.approx(1.0, abs=0.16)
    assert {mottle(0.0, value) for value in noise} == {1.0}


def test_every_kind_can_be_painted() -> None:
    for kind in KINDS:
        assert 0 <= _share(_look(kind), 0.013, 0.027) <= 1
