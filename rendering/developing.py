"""The kernels of `styles.develop`: from linear light to stored bytes, a row at a time.

Why so many small loops: each runs along one colour of one row and does one kind of work, so that compilers make
vectors of it; the one loop that they cannot is the one that looks the tone curve up. No fast-math: every sum has its
order, and the bytes are the same on every machine.
Source: splitmix64 of Steele, Lea and Flood 2014 (noise); IEC 61966-2-1 (the sRGB curve). Trade-off: the tone curve is
a table of 4096 steps, which are coarser than the stored picture's in the darkest corner.
"""

from typing import Final

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numba import njit

__all__ = ["TONE", "develop_rows"]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_ZERO, _HALF, _ONE, _WHITE = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)


def _tone_table() -> Float32[np.ndarray, "4096"]:
    linear = np.arange(4096) / 4095
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)
    return srgb.astype(np.float32)


TONE: Final = _tone_table()
"""sRGB of linear light in 4095 steps, both in [0, 1]."""


@njit(cache=True, nogil=True)
def develop_rows(
    picture: Float32[np.ndarray, "h w 3"],
    row_start: Int64[np.ndarray, "h"],
    row_weight: Float32[np.ndarray, "h k"],
    reach: int,
    column_weight: Float32[np.ndarray, "m w"],
    gains: Float32[np.ndarray, "3"],
    knobs: Float32[np.ndarray, "3"],
    key: int,
    tone: Float32[np.ndarray, "4096"],
    out: UInt8[np.ndarray, "h w 3"],
) -> None:
    """Filter rows, then columns; then colour, tone and noise.

    Args:
        picture: linear light, contiguous.
        row_start: first of the rows that each row is made of.
        row_weight: and their weights.
        reach: how many pixels to the left of a pixel the first of its column weights stands.
        column_weight: weight of the pixel `k - reach` to the right of each pixel; 0 where there is no such pixel.
        gains: factors on red, green and blue.
        knobs: saturation, contrast, noise.
        key: of the noise.
        tone: sRGB of linear light, see `TONE`.
        out: written.
    """
    height, width = picture.shape[0], picture.shape[1]
    flat, line = picture.reshape(height, width * 3), np.empty(width * 3, np.float32)
    padded, colours = np.zeros((3, width + column_weight.shape[0]), np.float32), np.empty((3, width), np.float32)
    grain, bits = np.empty((3, width), np.float32), np.empty(width, np.uint64)
    level, stored = np.empty(width, np.uint16), np.empty((3, width), np.uint8)
    red, green, blue = colours[0], colours[1], colours[2]
    red_grain, green_grain, blue_grain = grain[0], grain[1], grain[2]
    red_byte, green_byte, blue_byte = stored[0], stored[1], stored[2]
    triples = line.reshape(width, 3)
    left_red, left_green, left_blue = padded[0, reach:], padded[1, reach:], padded[2, reach:]
    saturation, contrast, noise = knobs[0], knobs[1], knobs[2]
    for y in range(height):
        _mix_rows(flat, row_start[y], row_weight, y, line)
        _part(triples, left_red, left_green, left_blue)
        _mix_columns(padded, column_weight, colours)
        _colour(red, green, blue, gains, saturation)
        _grain(np.uint64(key) + np.uint64(y * width) * _GOLDEN, bits, red_grain, green_grain, blue_grain)
        _tone(red, level, red_grain, contrast, noise, tone, red_byte)
        _tone(green, level, green_grain, contrast, noise, tone, green_byte)
        _tone(blue, level, blue_grain, contrast, noise, tone, blue_byte)
        _join(red_byte, green_byte, blue_byte, out, y)


@njit(cache=True, nogil=True)
def _mix_rows(source: np.ndarray, start: int, weight: np.ndarray, y: int, out: np.ndarray) -> None:
    """Sum rows from `start` on, each times its weight."""
    out[:] = _ZERO
    for k in range(weight.shape[1]):
        factor, row = weight[y, k], np.uint64(start + k)
        for x in range(out.size):
            out[x] += factor * source[row, x]


@njit(cache=True, nogil=True)
def _mix_columns(source: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """Sum the same row shifted by 0, 1, ... pixels, each pixel times its own weight for that shift."""
    out[:] = _ZERO
    for colour in range(3):
        for k in range(weight.shape[0]):
            for x in range(out.shape[1]):
                out[colour, x] += weight[k, x] * source[colour, np.uint64(k) + np.uint64(x)]


@njit(cache=True, nogil=True)
def _part(triples: np.ndarray, reds: np.ndarray, greens: np.ndarray, blues: np.ndarray) -> None:
    for x in range(triples.shape[0]):
        reds[x] = triples[x, 0]
        greens[x] = triples[x, 1]
        blues[x] = triples[x, 2]


@njit(cache=True, nogil=True)
def _join(reds: np.ndarray, greens: np.ndarray, blues: np.ndarray, triples: np.ndarray, y: int) -> None:
    for x in range(triples.shape[1]):
        triples[y, x, 0] = reds[x]
        triples[y, x, 1] = greens[x]
        triples[y, x, 2] = blues[x]


@njit(cache=True, nogil=True)
def _colour(reds: np.ndarray, greens: np.ndarray, blues: np.ndarray, gains: np.ndarray, saturation: float) -> None:
    """Exposure, white balance and saturation, in place."""
    for x in range(reds.size):
        red, green, blue = reds[x] * gains[0], greens[x] * gains[1], blues[x] * gains[2]
        grey = np.float32(0.2126) * red + np.float32(0.7152) * green + np.float32(0.0722) * blue
        reds[x] = grey + saturation * (red - grey)
        greens[x] = grey + saturation * (green - grey)
        blues[x] = grey + saturation * (blue - grey)


@njit(cache=True, nogil=True)
def _tone(
    values: np.ndarray,
    level: np.ndarray,
    grain: np.ndarray,
    contrast: float,
    noise: float,
    tone: np.ndarray,
    out: np.ndarray,
) -> None:
    """Tone curve, contrast and noise of one colour of a row, to bytes; `level` is scratch."""
    for x in range(values.size):
        level[x] = np.uint16(np.int32(min(max(values[x], _ZERO), _ONE) * np.float32(4095) + _HALF))
    for x in range(values.size):
        values[x] = tone[level[x]]
    for x in range(values.size):
        value = values[x]
        value += contrast * (value * value * (np.float32(3) - np.float32(2) * value) - value)
        value += noise * (np.float32(1.3) - np.float32(0.6) * value) * grain[x]
        out[x] = np.uint8(np.int32(min(max(value * _WHITE + _HALF, _ZERO), _WHITE)))


@njit(cache=True, nogil=True)
def _grain(first: np.uint64, bits: np.ndarray, red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> None:
    """Noise of a row of pixels: a part common to the colours and a part of their own; `bits` is scratch."""
    for x in range(bits.size):
        bits[x] = _mixed(first + np.uint64(x) * _GOLDEN)
    for x in range(bits.size):
        low, high = np.uint32(bits[x] & np.uint64(0xFFFFFFFF)), np.uint32(bits[x] >> np.uint64(32))
        common = np.float32(0.8) * _triangular(low)
        red[x] = common + np.float32(0.6) * _triangular(low >> np.uint32(16))
        green[x] = common + np.float32(0.6) * _triangular(high)
        blue[x] = common + np.float32(0.6) * _triangular(high >> np.uint32(16))


@njit(cache=True, nogil=True)
def _mixed(state: np.uint64) -> np.uint64:
    """Mix 64 bits. Source: splitmix64, Steele, Lea and Flood 2014."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True)
def _triangular(bits: np.uint32) -> np.float32:
    """Sum the last two bytes to a number of mean 0 and standard deviation 1, within +-2.45."""
    total = (bits & np.uint32(255)) + ((bits >> np.uint32(8)) & np.uint32(255))
    return np.float32(np.int32(total) - np.int32(255)) * np.float32(1 / 104.51)
