"""Camera styles: optics as band matrices, tone and colour against plain numpy, noise that belongs to a picture."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from resight.rendering.styles import Style, develop, style, taps

NEUTRAL = Style(
    camera=0,
    exposure=1.0,
    balance=np.ones(3, np.float32),
    saturation=1.0,
    contrast=0.0,
    blur=0.0,
    lines=inf,
    noise=0.0,
)


def _srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_neutral_camera_only_encodes() -> None:
    picture = np.random.default_rng(0).random((32, 24, 3)).astype(np.float32)
    expected = np.floor(_srgb(picture.astype(np.float64)) * 255 + 0.5)
    assert np.abs(develop(picture, NEUTRAL, gain=1.0, noise_key=0) - expected).max() <= 1


@pytest.mark.parametrize("resolution", [0.6, 0.83, 1.0])
def test_taps_keep_flat_pictures_flat_and_mirror(resolution: float) -> None:
    rows = taps(64, 0.7, resolution)
    np.testing.assert_allclose(rows.weight.sum(1), 1.0, atol=1e-6)
    matrix = np.zeros((64, 64))
    np.put_along_axis(matrix, rows.start[:, None] + np.arange(rows.weight.shape[1]), rows.weight, axis=1)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-6)


def test_low_resolution_removes_fine_detail() -> None:
    picture = np.zeros((64, 32, 3), np.float32)
    picture[::2] = 1.0
    sharp = develop(picture, NEUTRAL, gain=1.0, noise_key=0)
    soft = develop(picture, replace(NEUTRAL, lines=0.6 * len(picture)), gain=1.0, noise_key=0)
    assert soft.astype(float).std() < 0.5 * sharp.astype(float).std()


def test_noise_has_its_size_and_belongs_to_its_key() -> None:
    picture = np.full((64, 64, 3), 0.2140, np.float32)  # sRGB 0.5
    noisy = replace(NEUTRAL, noise=0.02)
    first = develop(picture, noisy, gain=1.0, noise_key=1)
    np.testing.assert_array_equal(first, develop(picture, noisy, gain=1.0, noise_key=1))
    assert not np.array_equal(first, develop(picture, noisy, gain=1.0, noise_key=2))
    assert first.astype(float).std() == pytest.approx(0.02 * 255, rel=0.1)


def test_styles_are_mild_and_differ() -> None:
    looks = [style(0, camera) for camera in range(32)]
    balance = np.array([look.balance for look in looks])
    assert balance.min() > 0.8
    assert balance.max() < 1.25
    assert len({look.exposure for look in looks}) == 32
    assert style(0, 1).noise == style(0, 1).noise
