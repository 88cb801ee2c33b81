"""Procedural materials in numba: the colour of a point of the rest body.

Patterns live in metres of the rest pose, painted along x (or z, on the body's sides) and y, so they move with the body
and do not swim. Every edge is filtered over the pixel's footprint: a stripe finer than a pixel fades into its mean
instead of aliasing. Noise is a hash of integers, the same on every machine.
Source: Perlin 1985 (value noise); Apodaca and Gritz 1999 (filtered pulses). Trade-off: a seam, as cloth has, where the
pattern's axis changes between front and side.
"""

from math import sqrt
from typing import Final

import numpy as np
from numba import njit

from resight.rendering.appearance import KINDS

__all__ = ["blend", "cell", "corners", "mottle", "moved", "pattern"]

_CELLS: Final = 32
_LAST: Final = _CELLS - 1
_PLAIN, _STRIPES, _CHECKS = KINDS["plain"], KINDS["stripes"], KINDS["checks"]
_DOTS, _NOISE, _LOGO, _PLAID, _FACE = KINDS["dots"], KINDS["noise"], KINDS["logo"], KINDS["plaid"], KINDS["face"]


def _scramble(x: int, y: int, seed: int) -> float:
    """Uniform in [0, 1) for a cell of a grid: three rounds of multiply and shift on 32 bits."""
    word = (x * 374761393 + y * 668265263 + seed * 2246822519) & 0xFFFFFFFF
    word = ((word ^ (word >> 15)) * 2246822519) & 0xFFFFFFFF
    word = ((word ^ (word >> 13)) * 3266489917) & 0xFFFFFFFF
    return ((word ^ (word >> 16)) & 0xFFFFFF) / 16777216.0


_hash: Final = njit(cache=True, nogil=True, error_model="numpy")(_scramble)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _floor(x: float) -> int:
    whole = int(x)
    return whole - 1 if x < whole else whole


def _lattice() -> np.ndarray:
    """Uniform values in [0, 1) on a torus of cells: looking one up is cheaper than hashing, four times a pixel."""
    cells = [[_scramble(x, y, 0) for y in range(_CELLS)] for x in range(_CELLS)]
    return np.array(cells)


_LATTICE: Final = _lattice()


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def cell(x: float) -> tuple[np.int32, float]:
    """The cell of the lattice that `x` lies in, and how far across it, eased in and out; 32 bits make vectors."""
    whole = np.floor(x)
    across = x - whole
    return np.int32(whole), across * across * (3.0 - 2.0 * across)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def moved(i: int | np.int32, j: int | np.int32, seed: int) -> tuple[int, int]:
    """Where cell (i, j) lies on the lattice: elsewhere for every seed."""
    return int(i) + 7 * seed, int(j) + 13 * (seed >> 5)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def corners(i: int, j: int) -> tuple[float, float, float, float]:
    """The lattice's values about cell (i, j), which repeat after 32 cells: left and right below, left and right above.

    Unsigned, for no look out for negative indices.
    """
    left, low = np.uint64(i & _LAST), np.uint64(j & _LAST)
    right, high = np.uint64((i + 1) & _LAST), np.uint64((j + 1) & _LAST)
    return _LATTICE[left, low], _LATTICE[right, low], _LATTICE[left, high], _LATTICE[right, high]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def blend(a: float, b: float, c: float, d: float, s: float, t: float) -> float:
    """The value at (s, t) in [0, 1] between four `corners`."""
    below, above = a * (1.0 - s) + b * s, c * (1.0 - s) + d * s
    return below * (1.0 - t) + above * t


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def value_noise(u: float, v: float, seed: int) -> float:
    """Smooth noise in [0, 1) with one value a unit cell; repeats after 32 cells, elsewhere for every seed."""
    (column, s), (row, t) = cell(u), cell(v)
    i, j = moved(column, row, seed)
    a, b, c, d = corners(i, j)
    return blend(a, b, c, d, s, t)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def pulse(t: float, duty: float, width: float) -> float:
    """Share of a pixel of `width` periods, at `t` periods, that lies in the first `duty` of a period."""
    if width >= 1.0:
        return duty
    offset = abs(t - _floor(t) - 0.5 * duty)
    offset = min(offset, 1.0 - offset)  # distance to the middle of the pulse, periods
    inside = 0.5 * duty + 0.5 * width - offset
    return min(max(inside / width, 0.0), min(1.0, duty / width))


@njit(cache=True, nogil=True, error_model="numpy")
def _dots(s: float, t: float, duty: float, width: float) -> float:
    """Discs covering `duty` (at most 0.78) of the plane on a square grid."""
    ds, dt = s - _floor(s) - 0.5, t - _floor(t) - 0.5
    radius = sqrt(duty / 3.141592653589793)
    inside = (radius - sqrt(ds * ds + dt * dt)) / max(width, 1e-6) + 0.5
    share = min(max(inside, 0.0), 1.0)
    fade = min(max(2.0 * width - 0.5, 0.0), 1.0)
    return share * (1.0 - fade) + duty * fade


@njit(cache=True, nogil=True, error_model="numpy")
def _logo(s: float, t: float, duty: float, seed: int) -> float:
    """A 5 x 5 glyph about the origin, in cells; the left half is the mirror of the right."""
    i, j = _floor(s + 2.5), _floor(t + 2.5)
    if i < 0 or i > 4 or j < 0 or j > 4:
        return 0.0
    return 1.0 if _hash(abs(i - 2), j, seed) < duty else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _blob(du: float, dv: float, half_u: float, half_v: float, footprint: float) -> float:
    """Share of a pixel that a soft ellipse covers, at (du, dv) metres from its centre."""
    soft = 0.3 * footprint
    x, y = du / (half_u + soft), dv / (half_v + soft)
    spread = half_u * half_v / ((half_u + soft) * (half_v + soft))
    return min(max(1.5 - sqrt(x * x + y * y), 0.0), 1.0) * spread


@njit(cache=True, nogil=True, error_model="numpy")
def _face(u: float, along: float, footprint: float) -> float:
    """Eyes, brows and mouth by the place on the head: they stay put whatever its height."""
    v = (0.5 - along) * 0.224
    side = abs(u)
    eye = _blob(side - 0.032, v - 0.018, 0.012, 0.007, footprint)
    brow = 0.6 * _blob(side - 0.033, v - 0.036, 0.017, 0.004, footprint)
    mouth = 0.45 * _blob(side, v + 0.072, 0.024, 0.006, footprint)
    return max(eye, brow, mouth)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _share(
    looks: np.ndarray, key: int | np.uint64, u: float, v: float, along: float, side: int, footprint: float
) -> float:
    """Share of the second colour at (u, v)."""
    kind, scale, duty, seed, cosine, sine = (
        int(looks[key, 0]),
        looks[key, 7],
        looks[key, 9],
        int(looks[key, 11]),
        looks[key, 16],
        looks[key, 17],
    )
    if kind == _FACE:
        return _face(u, along, footprint) if side > 0 else 0.0
    if kind == _LOGO:
        if side == 0 or (side > 0) != (cosine > 0.0):
            return 0.0
        return _logo((u - looks[key, 12]) * scale, (v - looks[key, 13]) * scale, duty, seed)
    width = footprint * scale
    t = (v * cosine - u * sine) * scale
    if kind == _STRIPES:
        return pulse(t, duty, width)
    s = (u * cosine + v * sine) * scale
    if kind == _DOTS:
        return _dots(s, t, duty, width)
    if kind == _NOISE:
        value = 0.65 * value_noise(s, t, seed) + 0.35 * value_noise(2.1 * s, 2.1 * t, seed + 7)
        return min(max((duty - value) / max(0.08, width) + 0.5, 0.0), 1.0)
    first, second = pulse(s, duty, width), pulse(t, duty, width)
    if kind == _CHECKS:
        return first * (1.0 - second) + second * (1.0 - first)
    return 0.5 * (first + second)  # plaid


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def pattern(
    looks: np.ndarray, key: int | np.uint64, u: float, v: float, along: float, side: int, footprint: float
) -> tuple[float, float, float]:
    """Return the linear RGB of a material at a point, before its `mottle`.

    Args:
        looks: (n, 18) rows of the material table, each followed by cosine and sine of its angle.
        key: the row.
        u: metres around the body in the rest pose.
        v: metres above the pelvis in the rest pose.
        along: position along the limb.
        side: 1 where the rest normal points mostly forward, -1 backward, 0 sideways.
        footprint: size of a pixel on the body, metres.
    """
    share = 0.0 if int(looks[key, 0]) <= _PLAIN else _share(looks, key, u, v, along, side, footprint)
    return (
        looks[key, 1] + share * (looks[key, 4] - looks[key, 1]),
        looks[key, 2] + share * (looks[key, 5] - looks[key, 2]),
        looks[key, 3] + share * (looks[key, 6] - looks[key, 3]),
    )


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def mottle(amount: float, noise: float) -> float:
    """Return the factor on the colour at a point where the noise is `noise`: 1 where `amount` is 0."""
    return 1.0 + 1.6 * amount * (noise - 0.5)
