"""What a camera does to light: exposure, white balance, optics, resolution, noise and tone curve.

What: `style(seed, camera)` draws the style of one camera; `develop` turns a linear picture into the 8-bit picture
that this camera would have stored. Why: the difference between cameras is the first difficulty of re-identification,
and it must be known exactly to be varied on purpose. Optics and the loss of resolution are linear, so blur, shrinking
and enlarging are multiplied into one band matrix for rows and one for columns, made once a camera. Source: the
imaging pipeline of Healey and Kondepudy 1994 ("Radiometric CCD camera calibration and noise estimation"): gain, blur,
shot and read noise, tone curve. Trade-off: the casts are mild on purpose, so that skin and hair can still be told
apart.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8

from resight.rendering.developing import TONE, develop_rows
from resight.rendering.draws import stream
from resight.rendering.splits import CameraKind
from resight.rendering.world import camera_kind

__all__ = ["Style", "Taps", "develop", "neutral", "style", "taps"]

FAINT: Final = 1e-3
"""Weights below this are left out of the band matrices."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """The look of one camera.

    Attributes:
        camera: its number.
        exposure: factor on linear light.
        balance: (3,) float32 factors on linear red, green, blue; green is 1.
        saturation: 1 leaves colours alone, 0 would be grey.
        contrast: strength of the S-shaped tone curve, 0 is none.
        blur: standard deviation of the optics, stored pixels.
        lines: rows of the sensor that a crop covers, pixels; nothing is lost where fewer are stored.
        noise: standard deviation in units of 8-bit white, at mid grey.
    """

    camera: int
    exposure: float
    balance: Float32[np.ndarray, "3"]
    saturation: float
    contrast: float
    blur: float
    lines: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class Taps:
    """A band matrix: output pixel i is the sum over k of weight[i, k] x input pixel start[i] + k."""

    start: np.ndarray
    weight: Float32[np.ndarray, "n support"]


@dataclass(frozen=True, kw_only=True)
class _Range:
    """From where to where each property reaches; exposure and casts as logarithms."""

    warmth: tuple[float, float] = (-0.07, 0.07)
    tint: tuple[float, float] = (-0.03, 0.03)
    exposure: tuple[float, float] = (-0.28, 0.28)
    saturation: tuple[float, float] = (0.8, 1.15)
    contrast: tuple[float, float] = (0.0, 0.5)
    blur: tuple[float, float] = (0.35, 0.75)
    lines: tuple[float, float] = (77, 180)
    noise: tuple[float, float] = (0.006, 0.022)


_RANGES: Final[dict[CameraKind, _Range]] = {
    "usual": _Range(),
    "foreign": _Range(
        warmth=(0.14, 0.3),
        tint=(-0.1, 0.1),
        exposure=(-0.5, 0.35),
        saturation=(0.5, 0.85),
        contrast=(0.4, 0.9),
        blur=(0.5, 1.0),
        lines=(60, 120),
        noise=(0.015, 0.035),
    ),
    "coarse": _Range(lines=(15, 36), noise=(0.01, 0.03)),
}


@lru_cache(maxsize=256)
def style(seed: int, camera: int) -> Style:
    """Draw the style of camera `camera`.

    The first cameras of every seed spread evenly over each range (golden-ratio sequences), so that no seed gets cameras
    that happen to be alike. Foreign cameras are warm and cold in turn, never neutral as the usual ones are.
    """
    kind, start = camera_kind(camera), stream(seed, "styles").random(8)
    share = (start + camera * _STEPS) % 1.0
    ranges = _RANGES[kind]

    def within(number: int, reach: tuple[float, float]) -> float:
        low, high = reach
        return float(low + (high - low) * share[number])

    warmth, tint = within(0, ranges.warmth), within(1, ranges.tint)
    warmth = -warmth if kind == "foreign" and camera % 2 else warmth
    balance = np.exp(np.array([warmth + tint, 0, -warmth + tint])).astype(np.float32)
    balance.setflags(write=False)
    return Style(
        camera=camera,
        exposure=float(np.exp(within(2, ranges.exposure))),
        balance=balance,
        saturation=within(3, ranges.saturation),
        contrast=within(4, ranges.contrast),
        blur=within(5, ranges.blur),
        lines=within(6, ranges.lines),
        noise=within(7, ranges.noise),
    )


def neutral(camera: int) -> Style:
    """Return the style of a studio: what is white stays white, and nothing is blurred, noisy or lost."""
    balance = np.ones(3, np.float32)
    balance.setflags(write=False)
    return Style(
        camera=camera,
        exposure=1.0,
        balance=balance,
        saturation=1.0,
        contrast=0.2,
        blur=0.3,
        lines=inf,
        noise=0.004,
    )


_STEPS: Final = np.array([0.6180339887, 0.3819660113] * 4)
"""Steps of the sequences: the golden ratio, forwards and backwards in turn."""


@lru_cache(maxsize=256)
def taps(size: int, blur: float, resolution: float) -> Taps:
    """Return blur, shrinking to `resolution` of `size` and enlarging again, as one band matrix of `size` rows.

    Args:
        size: pixels along the axis.
        blur: standard deviation in pixels.
        resolution: in (0, 1].
    """
    small = max(1, round(size * resolution))
    matrix = _enlarging(small, size) @ _shrinking(size, small) @ _blurring(size, blur)
    matrix[matrix < FAINT] = 0
    start = np.argmax(matrix > 0, axis=1)
    support = int((size - np.argmax(matrix[:, ::-1] > 0, axis=1) - start).max())
    start = np.minimum(start, size - support)
    weight = np.take_along_axis(matrix, start[:, None] + np.arange(support), axis=1)
    weight /= weight.sum(1, keepdims=True)
    return Taps(start=start.astype(np.int64), weight=weight.astype(np.float32))


def _blurring(size: int, sigma: float) -> np.ndarray:
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    matrix = np.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2)
    return matrix / matrix.sum(1, keepdims=True)


def _shrinking(size: int, small: int) -> np.ndarray:
    """Average over areas: overlap of each small pixel with each large one."""
    edges = np.arange(small + 1) * (size / small)
    low = np.maximum(edges[:-1, None], np.arange(size)[None, :])
    high = np.minimum(edges[1:, None], np.arange(size)[None, :] + 1)
    overlap = np.clip(high - low, 0, None)
    return overlap / overlap.sum(1, keepdims=True)


def _enlarging(small: int, size: int) -> np.ndarray:
    """Interpolate linearly between the centres of the small pixels."""
    position = np.clip((np.arange(size) + 0.5) * (small / size) - 0.5, 0, small - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(small)[None, :]), 0, None)


@lru_cache(maxsize=256)
def _shifted(size: int, blur: float, resolution: float) -> tuple[int, Float32[np.ndarray, "m size"]]:
    """Return the same band matrix for whole rows at a time: how far it reaches to the left, and its weights.

    Output pixel i is the sum over k of weights[k, i] x input pixel i + k - reach.
    """
    band = taps(size, blur, resolution)
    offset = band.start[:, None] + np.arange(band.weight.shape[1]) - np.arange(size)[:, None]
    used = band.weight > 0
    reach, end = -int(offset[used].min()), int(offset[used].max())
    weights = np.zeros((reach + end + 1, size), np.float32)
    weights[(offset + reach)[used], np.nonzero(used)[0]] = band.weight[used]
    return reach, weights


def develop(
    picture: Float32[np.ndarray, "h w 3"], look: Style, *, gain: float, noise_key: int
) -> UInt8[np.ndarray, "h w 3"]:
    """Turn linear light into the stored 8-bit sRGB picture.

    Args:
        picture: linear red, green, blue; 1 is white at exposure 1.
        look: the camera.
        gain: this picture's own factor on the exposure, about 1.
        noise_key: names this picture's noise, below 2^63.
    """
    height, width = picture.shape[:2]
    resolution = min(1.0, look.lines / height)
    rows = taps(height, look.blur, resolution)
    reach, columns = _shifted(width, look.blur, resolution)
    gains = look.balance * np.float32(look.exposure * gain)
    knobs = np.array([look.saturation, look.contrast, look.noise], np.float32)
    out = np.empty((height, width, 3), np.uint8)
    develop_rows(picture, rows.start, rows.weight, reach, columns, gains, knobs, noise_key, TONE, out)
    return out
