"""The second pass: from visible faces to colour, coverage, part, depth and normal of every pixel.

A pixel's samples are grouped by what they show (a part, above or below its cut), and each group is shaded once, at the
pixel's centre when one face fills it and else at the group's first sample.
Source: Akeley 1993 (shade once, sample often). Trade-off: two limbs of the same part in one pixel share a shade.
"""

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8
from numba import njit

from resight.rendering.materials import paint

__all__ = ["ATTRIBUTES", "Film", "resolve"]


ATTRIBUTES: Final = 12
"""Columns of the vertex table: screen x, y in 1/256 of a sample, inverse depth, normal (3), rest position (3), x and z
of the rest normal, along. One table instead of many arrays: numba counts references to each array at each call."""


class Film(NamedTuple):
    """Where the pass writes: the arrays of a `Frame`, zero, depth infinite."""

    rgb: Float32[np.ndarray, "h w 3"]
    alpha: Float32[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"]
    part: UInt8[np.ndarray, "h w"]
    depth: Float32[np.ndarray, "h w"]
    normal: Float32[np.ndarray, "h w 3"]


@njit(cache=True, nogil=True, error_model="numpy")
def _weights(table, a, b, c, x, y):
    """Perspective-correct weights of three corners at a point in 1/256 of a sample."""
    ax, ay, bx, by, cx, cy = table[a, 0], table[a, 1], table[b, 0], table[b, 1], table[c, 0], table[c, 1]
    wa = ((cx - bx) * (y - by) - (cy - by) * (x - bx)) * table[a, 2]
    wb = ((ax - cx) * (y - cy) - (ay - cy) * (x - cx)) * table[b, 2]
    wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * table[c, 2]
    total = 1.0 / (wa + wb + wc)
    return wa * total, wb * total, wc * total


@njit(cache=True, nogil=True, error_model="numpy")
def _face_keys(faces, face_part, table, cut):
    """2 * part + (1 below the cut) for each face; the negative of 2 * part for faces that the cut crosses."""
    keys = np.empty(faces.shape[0], np.int64)
    for face in range(keys.shape[0]):
        part = np.int64(face_part[face])
        below = 0
        for corner in range(3):
            below += 1 if table[faces[face, corner], 11] >= cut[part] else 0
        keys[face] = 2 * part if below == 0 else 2 * part + 1 if below == 3 else -2 * part
    return keys


@njit(cache=True, nogil=True, error_model="numpy")
def _light(table, nx, ny, nz, roughness):
    """Return diffuse RGB light and gloss at a point with this unit normal."""
    wrap = table[5, 0]
    facing = max((nx * table[0, 0] + ny * table[0, 1] + nz * table[0, 2] + wrap) / (1.0 + wrap), 0.0)
    up = 0.5 + 0.5 * ny
    gloss = 0.0
    if roughness < 1.0:
        gloss = max(nx * table[4, 0] + ny * table[4, 1] + nz * table[4, 2], 0.0)
        gloss *= gloss
        gloss *= gloss
        gloss *= gloss
        gloss *= 0.3 * (1.0 - roughness) * gloss  # to the 16th power
    return (
        facing * table[1, 0] + up * table[2, 0] + (1.0 - up) * table[3, 0],
        facing * table[1, 1] + up * table[2, 1] + (1.0 - up) * table[3, 1],
        facing * table[1, 2] + up * table[2, 2] + (1.0 - up) * table[3, 2],
        gloss,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _shade(table, a, b, c, look, lights, x, y, footprint):
    """Return the colour and the unit normal of a face at a point in 1/256 of a sample."""
    wa, wb, wc = _weights(table, a, b, c, x, y)
    nx = wa * table[a, 3] + wb * table[b, 3] + wc * table[c, 3]
    ny = wa * table[a, 4] + wb * table[b, 4] + wc * table[c, 4]
    nz = wa * table[a, 5] + wb * table[b, 5] + wc * table[c, 5]
    shrink = 1.0 / max(sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    nx, ny, nz = nx * shrink, ny * shrink, nz * shrink
    rx = wa * table[a, 9] + wb * table[b, 9] + wc * table[c, 9]
    rz = wa * table[a, 10] + wb * table[b, 10] + wc * table[c, 10]
    sideways = abs(rx) > abs(rz)
    side = 0 if sideways else 1 if rz >= 0.0 else -1
    axis = 8 if sideways else 6
    u = wa * table[a, axis] + wb * table[b, axis] + wc * table[c, axis]
    v = wa * table[a, 7] + wb * table[b, 7] + wc * table[c, 7]
    along = wa * table[a, 11] + wb * table[b, 11] + wc * table[c, 11]
    red, green, blue = paint(look, u, v, along, side, footprint)
    light_r, light_g, light_b, gloss = _light(lights, nx, ny, nz, look[10])
    red, green, blue = red * light_r, green * light_g, blue * light_b
    return red + gloss * lights[1, 0], green + gloss * lights[1, 1], blue + gloss * lights[1, 2], nx, ny, nz


@njit(cache=True, nogil=True, error_model="numpy")
def _key_at(table, faces, face, key, cut, x, y):
    """The key of a face that the cut crosses, at sample (x, y)."""
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    wa, wb, wc = _weights(table, a, b, c, x * 256.0 + 128.0, y * 256.0 + 128.0)
    place = wa * table[a, 11] + wb * table[b, 11] + wc * table[c, 11]
    return 1 - key if place >= cut[-key // 2] else -key


@njit(cache=True, nogil=True, error_model="numpy")
def _bounds(table, supersample, height, width):
    """Pixels that the body may touch: first row, end row, first column, end column."""
    left, top, right, bottom = 1e12, 1e12, -1e12, -1e12
    for vertex in range(table.shape[0]):
        if table[vertex, 2] > 0.0:
            x, y = table[vertex, 0], table[vertex, 1]
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
    if left > right:
        return 0, 0, 0, 0
    unit = 256 * supersample
    return (
        max(int(top) // unit, 0), min(int(bottom) // unit + 1, height),
        max(int(left) // unit, 0), min(int(right) // unit + 1, width),
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def resolve(
    seen: Int32[np.ndarray, "sh sw"],
    nearest: Float32[np.ndarray, "sh sw"],
    table: Float64[np.ndarray, "v 12"],
    faces: Int32[np.ndarray, "f 3"],
    face_part: UInt8[np.ndarray, "f"],
    looks: Float64[np.ndarray, "36 18"],
    cut: Float32[np.ndarray, "18"],
    lights: Float64[np.ndarray, "6 3"],
    supersample: int,
    focal: float,
    film: Film,
) -> None:
    """Fill `film` from the samples.

    Args:
        seen: face number of each sample, -1 for none.
        nearest: inverse depth of each sample.
        table: attributes of the vertices, see `ATTRIBUTES`.
        faces: corners.
        face_part: part ids.
        looks: material of part p above (row 2p) and below (2p + 1) its cut, then cosine and sine of its angle.
        cut: of each part.
        lights: rows: direction, colour, sky, ground, half vector, (wrap, 0, 0).
        supersample: samples a pixel and axis.
        focal: pixels; for the size of a pixel on the body.
        film: written.
    """
    rgb, alpha, mask, part, depth, normal = film
    samples = supersample * supersample
    face_keys = _face_keys(faces, face_part, table, cut)
    keys, counts = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
    first_x, first_y = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
    first_row, end_row, first_column, end_column = _bounds(table, supersample, alpha.shape[0], alpha.shape[1])
    for row in range(first_row, end_row):
        for column in range(first_column, end_column):
            groups, covered, near = 0, 0, np.float32(0.0)
            one = seen[row * supersample, column * supersample]
            for y in range(row * supersample, (row + 1) * supersample):
                for x in range(column * supersample, (column + 1) * supersample):
                    face = seen[y, x]
                    one = one if face == one else -1
                    if face < 0:
                        continue
                    covered += 1
                    near = max(near, nearest[y, x])
                    key = face_keys[face]
                    if key < 0:
                        key = _key_at(table, faces, face, key, cut, x, y)
                    slot = 0
                    while slot < groups and keys[slot] != key:
                        slot += 1
                    if slot == groups:
                        keys[slot], counts[slot], first_x[slot], first_y[slot] = key, 0, x, y
                        groups += 1
                    counts[slot] += 1
            if covered == 0:
                continue
            footprint = 1.0 / (near * focal)
            most = 0
            for slot in range(groups):
                face, share = seen[first_y[slot], first_x[slot]], counts[slot] / samples
                x, y = first_x[slot] * 256.0 + 128.0, first_y[slot] * 256.0 + 128.0
                if one >= 0 and groups == 1:  # one face fills the pixel: shade at its centre
                    x, y = (2 * column + 1) * 128.0 * supersample, (2 * row + 1) * 128.0 * supersample
                red, green, blue, nx, ny, nz = _shade(
                    table, faces[face, 0], faces[face, 1], faces[face, 2], looks[keys[slot]], lights, x, y, footprint
                )
                rgb[row, column, 0] += share * red
                rgb[row, column, 1] += share * green
                rgb[row, column, 2] += share * blue
                if slot == 0 or counts[slot] > counts[most]:
                    most = slot
                    normal[row, column, 0], normal[row, column, 1], normal[row, column, 2] = nx, ny, nz
            alpha[row, column] = covered / samples
            depth[row, column] = 1.0 / near
            if 2 * covered >= samples:
                mask[row, column] = 255
                part[row, column] = keys[most] // 2
