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
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8
from numba import njit

from resight.rendering.draws import stream

__all__ = ["Style", "Taps", "develop", "style", "taps"]

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
        resolution: share of the stored resolution that the sensor really has.
        noise: standard deviation in units of 8-bit white, at mid grey.
    """

    camera: int
    exposure: float
    balance: Float32[np.ndarray, "3"]
    saturation: float
    contrast: float
    blur: float
    resolution: float
    noise: float


@dataclass(frozen=True, kw_only=True)
class Taps:
    """A band matrix: output pixel i is the sum over k of weight[i, k] x input pixel start[i] + k."""

    start: np.ndarray
    weight: Float32[np.ndarray, "n support"]


@lru_cache(maxsize=256)
def style(seed: int, camera: int) -> Style:
    """Draw the style of camera `camera`.

    The first cameras of every seed spread evenly over each range (golden-ratio sequences), so that no seed gets cameras
    that happen to be alike.
    """
    start = stream(seed, "styles").random(8)
    share = (start + camera * _STEPS) % 1.0

    def within(number: int, low: float, high: float) -> float:
        return float(low + (high - low) * share[number])

    warmth, tint = within(0, -0.1, 0.1), within(1, -0.03, 0.03)
    balance = np.exp(np.array([warmth + tint, 0, -warmth + tint])).astype(np.float32)
    balance.setflags(write=False)
    return Style(
        camera=camera,
        exposure=float(np.exp(within(2, -0.28, 0.28))),
        balance=balance,
        saturation=within(3, 0.8, 1.15),
        contrast=within(4, 0.0, 0.5),
        blur=within(5, 0.35, 0.75),
        resolution=within(6, 0.6, 1.0),
        noise=within(7, 0.006, 0.022),
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
    rows = taps(height, look.blur, look.resolution)
    columns = taps(width, look.blur, look.resolution)
    gains = look.balance * np.float32(look.exposure * gain)
    knobs = np.array([look.saturation, look.contrast, look.noise], np.float32)
    out = np.empty((height, width, 3), np.uint8)
    _develop(picture, rows.start, rows.weight, columns.start, columns.weight, gains, knobs, noise_key, _TONE, out)
    return out


def _tone_table() -> Float32[np.ndarray, "4096"]:
    linear = np.arange(4096) / 4095
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)
    return srgb.astype(np.float32)


_TONE: Final = _tone_table()


@njit(cache=True, nogil=True)
def _develop(
    picture: np.ndarray,
    row_start: np.ndarray,
    row_weight: np.ndarray,
    column_start: np.ndarray,
    column_weight: np.ndarray,
    gains: np.ndarray,
    knobs: np.ndarray,
    key: int,
    tone: np.ndarray,
    out: np.ndarray,
) -> None:
    """Filter rows, then columns; then colour, tone and noise of each pixel."""
    height, width = picture.shape[0], picture.shape[1]
    flat = picture.reshape(height, width * 3)
    line = np.empty(width * 3, np.float32)
    for y in range(height):
        line[:] = 0
        for k in range(row_weight.shape[1]):
            weight, source = row_weight[y, k], flat[row_start[y] + k]
            for x in range(width * 3):
                line[x] += weight * source[x]
        for x in range(width):
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            first = 3 * column_start[x]
            for k in range(column_weight.shape[1]):
                weight = column_weight[x, k]
                red += weight * line[first + 3 * k]
                green += weight * line[first + 3 * k + 1]
                blue += weight * line[first + 3 * k + 2]
            _store(out[y, x], red * gains[0], green * gains[1], blue * gains[2], knobs, key, y * width + x, tone)


@njit(cache=True, nogil=True)
def _store(
    out: np.ndarray,
    red: float,
    green: float,
    blue: float,
    knobs: np.ndarray,
    key: int,
    pixel: int,
    tone: np.ndarray,
) -> None:
    grey = np.float32(0.2126) * red + np.float32(0.7152) * green + np.float32(0.0722) * blue
    bits = _mixed(np.uint64(key) + np.uint64(pixel) * np.uint64(0x9E3779B97F4A7C15))
    common = _triangular(bits, np.uint64(0))
    for channel in range(3):
        linear = red if channel == 0 else (green if channel == 1 else blue)
        linear = grey + knobs[0] * (linear - grey)
        value = tone[int(min(max(linear, np.float32(0)), np.float32(1)) * np.float32(4095) + np.float32(0.5))]
        value += knobs[1] * (value * value * (np.float32(3) - np.float32(2) * value) - value)
        own = _triangular(bits, np.uint64(16 * channel + 16))
        value += (
            knobs[2] * (np.float32(1.3) - np.float32(0.6) * value) * (np.float32(0.8) * common + np.float32(0.6) * own)
        )
        out[channel] = np.uint8(min(max(value * np.float32(255) + np.float32(0.5), np.float32(0)), np.float32(255)))


@njit(cache=True, nogil=True)
def _mixed(state: np.uint64) -> np.uint64:
    """Mix 64 bits. Source: splitmix64, Steele, Lea and Flood 2014."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True)
def _triangular(bits: np.uint64, shift: np.uint64) -> np.float32:
    """Sum two bytes to a number of mean 0 and standard deviation 1, within +-2.45."""
    first = np.float32((bits >> shift) & np.uint64(255))
    second = np.float32((bits >> (shift + np.uint64(8))) & np.uint64(255))
    return (first + second - np.float32(255)) * np.float32(1 / 104.51)
