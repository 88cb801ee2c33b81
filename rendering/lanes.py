"""Shading, many points at a time: from a face and a place in the picture to colour and normal.

Why: one point after another waits for every division and square root. Points are gathered in blocks of `LANES`, and
each step (light, mottle) runs over a whole block in one loop of fixed length without branches, which compilers turn
into vectors; only what differs from point to point (corners, patterns) is done one by one. Nothing is reordered within
a point, so the bytes do not depend on the block a point falls into.
Source: deferred shading after Deering et al. 1988; half-Lambert after Mitchell et al. 2006. Trade-off: every point pays
for mottle and gloss, whether its material has them or not, which is still cheaper than to ask.
"""

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numba import njit

from resight.rendering.appearance import KINDS
from resight.rendering.materials import blend, cell, corners, mottle, moved, pattern

__all__ = ["LANES", "Points", "empty_points", "put", "shade_points", "weights"]

LANES: Final = 64
_PLAIN: Final = KINDS["plain"]
_PLACES: Final = np.uint64(3)  # columns of the table that say where a vertex is on the screen

# Where each quantity of a block stands. Unsigned constants: no look out for negative indices, and compilers see that
# two quantities never overlap.
_FACE, _KEY, _PIXEL, _LEADS, _SEED = (np.uint64(n * LANES) for n in range(5))
_PLACE_X, _PLACE_Y, _SHARE, _FOOTPRINT, _AMOUNT, _GLOSS = (np.uint64(n * LANES) for n in range(6))
_RED, _GREEN, _BLUE, _NX, _NY, _NZ, _X, _Y, _Z, _RX, _RZ, _ALONG = (np.uint64(n * LANES) for n in range(6, 18))
_WIDE = np.uint64(18 * LANES)
_CELL_I, _CELL_J = _FACE, _KEY
_NOISE_A, _NOISE_B, _NOISE_C, _NOISE_D = _PLACE_X, _PLACE_Y, _FOOTPRINT, _ALONG
_OUT_RED, _OUT_GREEN, _OUT_BLUE, _OUT_X, _OUT_Y, _OUT_Z = (np.uint64(n * LANES) for n in range(6))


class Points(NamedTuple):
    """A block of points to shade, quantity after quantity, `LANES` of each.

    Attributes:
        whole: face, row of the looks, pixel, whether the point's normal becomes the pixel's, seed of its mottle.
        real: place, share of the pixel, and what is found on the way.
        out: float32 colour and normal.
    """

    whole: Int64[np.ndarray, "5*lanes"]
    real: Float64[np.ndarray, "26*lanes"]
    out: Float32[np.ndarray, "6*lanes"]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def empty_points() -> Points:
    """Make room; zeros, because steps run over all lanes, used or not."""
    return Points(np.zeros(5 * LANES, np.int64), np.zeros(26 * LANES), np.zeros(6 * LANES, np.float32))


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def put(
    points: Points,
    lane: int,
    face: int | np.int32,
    key: int,
    pixel: int | np.uint64,
    share: float,
    leads: bool,
    x: float,
    y: float,
    size: float,
) -> None:
    """Enter a point: on which face, in which look, for which pixel, and where.

    Args:
        points: written.
        lane: below `LANES`.
        face: number.
        key: row of the looks.
        pixel: number, row by row.
        share: of the pixel, in (0, 1].
        leads: whether this point's normal becomes the pixel's.
        x: in 1/256 of a sample.
        y: in 1/256 of a sample.
        size: of a pixel at this depth, metres.
    """
    at, whole, real = np.uint64(lane), points.whole, points.real
    whole[at + _FACE], whole[at + _KEY], whole[at + _PIXEL], whole[at + _LEADS] = face, key, pixel, leads
    real[at + _PLACE_X], real[at + _PLACE_Y], real[at + _SHARE], real[at + _FOOTPRINT] = x, y, share, size


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def weights(
    table: np.ndarray, a: np.uint64, b: np.uint64, c: np.uint64, x: float, y: float
) -> tuple[float, float, float]:
    """Perspective-correct weights of three corners at a point in 1/256 of a sample."""
    ax, ay, bx, by, cx, cy = table[a, 0], table[a, 1], table[b, 0], table[b, 1], table[c, 0], table[c, 1]
    wa = ((cx - bx) * (y - by) - (cy - by) * (x - bx)) * table[a, 2]
    wb = ((ax - cx) * (y - cy) - (ay - cy) * (x - cx)) * table[b, 2]
    wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * table[c, 2]
    total = 1.0 / (wa + wb + wc)
    return wa * total, wb * total, wc * total


@njit(cache=True, nogil=True, error_model="numpy")
def shade_points(
    points: Points,
    used: int,
    table: Float64[np.ndarray, "v 12"],
    faces: np.ndarray,
    looks: Float64[np.ndarray, "36 18"],
    lights: Float64[np.ndarray, "6 3"],
    rgb: Float32[np.ndarray, "n"],
    normal: Float32[np.ndarray, "n"],
) -> None:
    """Shade the first `used` points and add them to `rgb`, each by its share; `normal` becomes that of those that lead.

    The other arguments are those of `resolve.resolve`, the pictures flat.
    """
    _interpolate(points, used, table, faces)
    _paint(points, used, looks)
    _mottle(points, used)
    _light(points, lights)
    _store(points, used, rgb, normal)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _interpolate(points: Points, used: int, table: np.ndarray, faces: np.ndarray) -> None:
    """Normal, rest position, x and z of the rest normal, along."""
    whole, real = points.whole, points.real
    for lane in range(used):
        at = np.uint64(lane)
        face = np.uint64(whole[at + _FACE])
        a, b, c = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
        wa, wb, wc = weights(table, a, b, c, real[at + _PLACE_X], real[at + _PLACE_Y])
        real[at + _NX] = wa * table[a, 3] + wb * table[b, 3] + wc * table[c, 3]
        real[at + _NY] = wa * table[a, 4] + wb * table[b, 4] + wc * table[c, 4]
        real[at + _NZ] = wa * table[a, 5] + wb * table[b, 5] + wc * table[c, 5]
        real[at + _X] = wa * table[a, 6] + wb * table[b, 6] + wc * table[c, 6]
        real[at + _Y] = wa * table[a, 7] + wb * table[b, 7] + wc * table[c, 7]
        real[at + _Z] = wa * table[a, 8] + wb * table[b, 8] + wc * table[c, 8]
        real[at + _RX] = wa * table[a, 9] + wb * table[b, 9] + wc * table[c, 9]
        real[at + _RZ] = wa * table[a, 10] + wb * table[b, 10] + wc * table[c, 10]
        real[at + _ALONG] = wa * table[a, 11] + wb * table[b, 11] + wc * table[c, 11]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _paint(points: Points, used: int, looks: np.ndarray) -> None:
    """Colour of the pattern: painted across the body where it faces front or back, along it on its sides."""
    whole, real = points.whole, points.real
    for lane in range(used):
        at = np.uint64(lane)
        key = np.uint64(whole[at + _KEY])
        if looks[key, 0] > _PLAIN:
            rx, rz = real[at + _RX], real[at + _RZ]
            sideways = abs(rx) > abs(rz)
            side = 0 if sideways else 1 if rz >= 0.0 else -1
            u = real[at + (_Z if sideways else _X)]
            red, green, blue = pattern(looks, key, u, real[at + _Y], real[at + _ALONG], side, real[at + _FOOTPRINT])
        else:
            red, green, blue = looks[key, 1], looks[key, 2], looks[key, 3]
        real[at + _RED], real[at + _GREEN], real[at + _BLUE] = red, green, blue
        real[at + _AMOUNT] = max(looks[key, 14], 0.0)
        real[at + _GLOSS] = 0.3 * (1.0 - min(looks[key, 10], 1.0))
        whole[at + _SEED] = int(looks[key, 11])


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _mottle(points: Points, used: int) -> None:
    """Lighten and darken the colour of all points: blotches a few centimetres across, nothing where the amount is 0.

    In three loops, for looking noise up makes no vectors and all the rest does. What is no longer asked for makes room.
    """
    whole, real = points.whole, points.real
    for lane in range(LANES):
        at = np.uint64(lane)
        front, side = real[at + _X], real[at + _Z]  # both are read, for a choice of places makes no vectors
        u = side if abs(real[at + _RX]) > abs(real[at + _RZ]) else front
        (i, s), (j, t) = cell(u * 24.0), cell(real[at + _Y] * 13.0)
        whole[at + _CELL_I], whole[at + _CELL_J] = moved(i, j, whole[at + _SEED] + 101)
        real[at + _X], real[at + _Y] = s, t
    for lane in range(used):
        at = np.uint64(lane)
        a, b, c, d = corners(whole[at + _CELL_I], whole[at + _CELL_J])
        real[at + _NOISE_A], real[at + _NOISE_B], real[at + _NOISE_C], real[at + _NOISE_D] = a, b, c, d
    for lane in range(LANES):
        at = np.uint64(lane)
        a, b, c, d = real[at + _NOISE_A], real[at + _NOISE_B], real[at + _NOISE_C], real[at + _NOISE_D]
        shade = mottle(real[at + _AMOUNT], blend(a, b, c, d, real[at + _X], real[at + _Y]))
        real[at + _RED] *= shade
        real[at + _GREEN] *= shade
        real[at + _BLUE] *= shade


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _light(points: Points, lights: np.ndarray) -> None:
    """Unit normal of all points, and their colour in this light with its gloss, times their share."""
    real, out = points.real, points.out
    dx, dy, dz = lights[0, 0], lights[0, 1], lights[0, 2]
    sun_r, sun_g, sun_b = lights[1, 0], lights[1, 1], lights[1, 2]
    sky_r, sky_g, sky_b = lights[2, 0], lights[2, 1], lights[2, 2]
    low_r, low_g, low_b = lights[3, 0], lights[3, 1], lights[3, 2]
    hx, hy, hz, wrap = lights[4, 0], lights[4, 1], lights[4, 2], lights[5, 0]
    for lane in range(LANES):
        at = np.uint64(lane)
        nx, ny, nz = real[at + _NX], real[at + _NY], real[at + _NZ]
        shrink = 1.0 / max(sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
        nx, ny, nz = nx * shrink, ny * shrink, nz * shrink
        facing = max((nx * dx + ny * dy + nz * dz + wrap) / (1.0 + wrap), 0.0)
        up = 0.5 + 0.5 * ny
        gloss = max(nx * hx + ny * hy + nz * hz, 0.0)
        gloss *= gloss
        gloss *= gloss
        gloss *= gloss
        gloss *= real[at + _GLOSS] * gloss  # to the 16th power
        share = real[at + _SHARE]
        red = real[at + _RED] * (facing * sun_r + up * sky_r + (1.0 - up) * low_r)
        green = real[at + _GREEN] * (facing * sun_g + up * sky_g + (1.0 - up) * low_g)
        blue = real[at + _BLUE] * (facing * sun_b + up * sky_b + (1.0 - up) * low_b)
        red, green, blue = (
            share * (red + gloss * sun_r),
            share * (green + gloss * sun_g),
            share * (blue + gloss * sun_b),
        )
        real[at + _RED], real[at + _GREEN], real[at + _BLUE] = red, green, blue
        out[at + _OUT_RED], out[at + _OUT_GREEN], out[at + _OUT_BLUE] = red, green, blue
        out[at + _OUT_X], out[at + _OUT_Y], out[at + _OUT_Z] = nx, ny, nz


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _store(points: Points, used: int, rgb: np.ndarray, normal: np.ndarray) -> None:
    whole, real, out = points.whole, points.real, points.out
    for lane in range(used):
        at = np.uint64(lane)
        first = np.uint64(3) * np.uint64(whole[at + _PIXEL])
        second, third = first + np.uint64(1), first + np.uint64(2)
        if real[at + _SHARE] == 1.0:
            rgb[first], rgb[second], rgb[third] = out[at + _OUT_RED], out[at + _OUT_GREEN], out[at + _OUT_BLUE]
        else:
            rgb[first] = np.float32(rgb[first] + real[at + _RED])
            rgb[second] = np.float32(rgb[second] + real[at + _GREEN])
            rgb[third] = np.float32(rgb[third] + real[at + _BLUE])
        if whole[at + _LEADS]:
            normal[first], normal[second], normal[third] = out[at + _OUT_X], out[at + _OUT_Y], out[at + _OUT_Z]
