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

from resight.rendering.appearance import KINDS
from resight.rendering.materials import paint

__all__ = ["ATTRIBUTES", "Film", "resolve", "vertex_table"]


_PLAIN: Final = KINDS["plain"]
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


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _weights(
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
def _face_keys(faces: np.ndarray, face_part: np.ndarray, table: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """2 * part + (1 below the cut) for each face; the negative of 2 * part for faces that the cut crosses."""
    keys = np.empty(faces.shape[0], np.int64)
    for face in range(keys.shape[0]):
        part = np.int64(face_part[face])
        below = 0
        for corner in range(3):
            below += 1 if table[faces[face, corner], 11] >= cut[part] else 0
        keys[face] = 2 * part if below == 0 else 2 * part + 1 if below == 3 else -2 * part
    return keys


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _light(table: np.ndarray, nx: float, ny: float, nz: float, roughness: float) -> tuple[float, float, float, float]:
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


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _pattern(
    table: np.ndarray,
    a: np.uint64,
    b: np.uint64,
    c: np.uint64,
    wa: float,
    wb: float,
    wc: float,
    looks: np.ndarray,
    key: int,
    footprint: float,
) -> tuple[float, float, float]:
    """Paint a point with these weights: across the body where it faces front or back, along it on its sides."""
    rx = wa * table[a, 9] + wb * table[b, 9] + wc * table[c, 9]
    rz = wa * table[a, 10] + wb * table[b, 10] + wc * table[c, 10]
    sideways = abs(rx) > abs(rz)
    side = 0 if sideways else 1 if rz >= 0.0 else -1
    axis = 8 if sideways else 6
    u = wa * table[a, axis] + wb * table[b, axis] + wc * table[c, axis]
    v = wa * table[a, 7] + wb * table[b, 7] + wc * table[c, 7]
    along = wa * table[a, 11] + wb * table[b, 11] + wc * table[c, 11]
    return paint(looks, key, u, v, along, side, footprint)


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _shade(
    table: np.ndarray,
    a: np.uint64,
    b: np.uint64,
    c: np.uint64,
    looks: np.ndarray,
    key: int,
    lights: np.ndarray,
    x: float,
    y: float,
    footprint: float,
) -> tuple[float, float, float, float, float, float]:
    """Return the colour and the unit normal of a face at a point in 1/256 of a sample."""
    wa, wb, wc = _weights(table, a, b, c, x, y)
    nx = wa * table[a, 3] + wb * table[b, 3] + wc * table[c, 3]
    ny = wa * table[a, 4] + wb * table[b, 4] + wc * table[c, 4]
    nz = wa * table[a, 5] + wb * table[b, 5] + wc * table[c, 5]
    shrink = 1.0 / max(sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    nx, ny, nz = nx * shrink, ny * shrink, nz * shrink
    if looks[key, 0] > _PLAIN or looks[key, 14] > 0.0:
        red, green, blue = _pattern(table, a, b, c, wa, wb, wc, looks, key, footprint)
    else:
        red, green, blue = looks[key, 1], looks[key, 2], looks[key, 3]
    light_r, light_g, light_b, gloss = _light(lights, nx, ny, nz, looks[key, 10])
    red, green, blue = red * light_r, green * light_g, blue * light_b
    return red + gloss * lights[1, 0], green + gloss * lights[1, 1], blue + gloss * lights[1, 2], nx, ny, nz


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _key_at(table: np.ndarray, faces: np.ndarray, face: int, key: int, cut: np.ndarray, x: int, y: int) -> int:
    """The key of a face that the cut crosses, at sample (x, y)."""
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    wa, wb, wc = _weights(table, a, b, c, x * 256.0 + 128.0, y * 256.0 + 128.0)
    place = wa * table[a, 11] + wb * table[b, 11] + wc * table[c, 11]
    return 1 - key if place >= cut[-key // 2] else -key


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _group(
    seen: np.ndarray,
    row: int,
    column: int,
    supersample: int,
    face_keys: np.ndarray,
    table: np.ndarray,
    faces: np.ndarray,
    cut: np.ndarray,
    keys: np.ndarray,
    counts: np.ndarray,
    first_x: np.ndarray,
    first_y: np.ndarray,
) -> int:
    """Group the samples of a pixel by key: fill the last four arguments, return how many groups there are."""
    groups = 0
    for y in range(row * supersample, (row + 1) * supersample):
        for x in range(column * supersample, (column + 1) * supersample):
            face = seen[y, x]
            if face < 0:
                continue
            key = int(face_keys[face])
            if key < 0:
                key = _key_at(table, faces, face, key, cut, x, y)
            slot = 0
            while slot < groups and keys[slot] != key:
                slot += 1
            if slot == groups:
                keys[slot], counts[slot], first_x[slot], first_y[slot] = key, 0, x, y
                groups += 1
            counts[slot] += 1
    return groups


@njit(cache=True, nogil=True, error_model="numpy")
def vertex_table(
    screen: np.ndarray,
    inverse: np.ndarray,
    normal: np.ndarray,
    rest: np.ndarray,
    rest_normal: np.ndarray,
    along: np.ndarray,
) -> Float64[np.ndarray, "v 12"]:
    """Gather the columns of `ATTRIBUTES`."""
    table = np.empty((along.shape[0], ATTRIBUTES))
    for v in range(along.shape[0]):
        table[v, 0], table[v, 1], table[v, 2] = screen[v, 0], screen[v, 1], inverse[v]
        for axis in range(3):
            table[v, 3 + axis], table[v, 6 + axis] = normal[v, axis], rest[v, axis]
        table[v, 9], table[v, 10], table[v, 11] = rest_normal[v, 0], rest_normal[v, 2], along[v]
    return table


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _columns(spans: np.ndarray, row: int, supersample: int) -> tuple[int, int]:
    """Pixels of a row that the body may touch: first column, end column."""
    first, end = spans[row * supersample, 0], spans[row * supersample, 1]
    for y in range(row * supersample + 1, (row + 1) * supersample):
        first, end = min(first, spans[y, 0]), max(end, spans[y, 1])
    return first // supersample, (end + supersample - 1) // supersample


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _fill(
    seen: np.ndarray,
    nearest: np.ndarray,
    spans: np.ndarray,
    table: np.ndarray,
    faces: np.ndarray,
    face_part: np.ndarray,
    looks: np.ndarray,
    cut: np.ndarray,
    lights: np.ndarray,
    supersample: int,
    focal: float,
    film: Film,
) -> None:
    """Do the work of `resolve`; inlined, so that each caller's constant `supersample` unrolls the loops."""
    rgb, alpha, mask, part, depth, normal = film
    samples = supersample * supersample
    face_keys = _face_keys(faces, face_part, table, cut)
    keys, counts = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
    first_x, first_y = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
    for row in range(alpha.shape[0]):
        first_column, end_column = _columns(spans, row, supersample)
        for column in range(first_column, end_column):
            y0, x0 = np.uint64(row), np.uint64(column)  # unsigned: no look out for negative indices
            groups, covered, near, same = 1, 0, np.float32(0.0), True
            first = seen[np.uint64(row * supersample), np.uint64(column * supersample)]
            whole = first >= 0
            first_key = 0
            for y in range(row * supersample, (row + 1) * supersample):
                for x in range(column * supersample, (column + 1) * supersample):
                    face = seen[np.uint64(y), np.uint64(x)]
                    whole = whole and face == first
                    if face < 0:
                        continue
                    key = face_keys[np.uint64(face)]
                    if covered == 0:
                        keys[0], first_x[0], first_y[0] = key, x, y
                        first_key = key
                    same = same and key == first_key >= 0
                    covered += 1
                    near = max(near, nearest[np.uint64(y), np.uint64(x)])
            if covered == 0:
                continue
            counts[0] = covered
            if not same:
                groups = _group(
                    seen, row, column, supersample, face_keys, table, faces, cut, keys, counts, first_x, first_y
                )
            footprint = 1.0 / (float(near) * focal)
            most, normal_x, normal_y, normal_z = np.uint64(0), 0.0, 0.0, 0.0
            total_r, total_g, total_b = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for number in range(groups):
                slot = np.uint64(number)
                face = np.uint64(seen[np.uint64(first_y[slot]), np.uint64(first_x[slot])])
                share = counts[slot] / samples
                x, y = first_x[slot] * 256.0 + 128.0, first_y[slot] * 256.0 + 128.0
                if whole and groups == 1:  # one face fills the pixel: shade at its centre
                    x, y = (2 * column + 1) * 128.0 * supersample, (2 * row + 1) * 128.0 * supersample
                a, b, c = np.uint64(faces[face, 0]), np.uint64(faces[face, 1]), np.uint64(faces[face, 2])
                red, green, blue, nx, ny, nz = _shade(table, a, b, c, looks, keys[slot], lights, x, y, footprint)
                total_r = np.float32(total_r + share * red)
                total_g = np.float32(total_g + share * green)
                total_b = np.float32(total_b + share * blue)
                if number == 0 or counts[slot] > counts[most]:
                    most, normal_x, normal_y, normal_z = slot, nx, ny, nz
            rgb[y0, x0, 0], rgb[y0, x0, 1], rgb[y0, x0, 2] = total_r, total_g, total_b
            normal[y0, x0, 0], normal[y0, x0, 1], normal[y0, x0, 2] = normal_x, normal_y, normal_z
            alpha[y0, x0] = covered / samples
            depth[y0, x0] = 1.0 / near
            if 2 * covered >= samples:
                mask[y0, x0] = 255
                part[y0, x0] = keys[most] // 2


@njit(cache=True, nogil=True, error_model="numpy")
def resolve(
    seen: Int32[np.ndarray, "sh sw"],
    nearest: Float32[np.ndarray, "sh sw"],
    spans: Int32[np.ndarray, "sh 2"],
    table: Float64[np.ndarray, "v 12"],
    faces: Int32[np.ndarray, "f 3"],
    face_part: UInt8[np.ndarray, "f"],
    looks: Float64[np.ndarray, "36 18"],
    cut: Float64[np.ndarray, "18"],
    lights: Float64[np.ndarray, "6 3"],
    supersample: int,
    focal: float,
    film: Film,
) -> None:
    """Fill `film` from the samples.

    Args:
        seen: face number of each sample, -1 for none.
        nearest: inverse depth of each sample.
        spans: of each row of samples, the columns [first, end) outside which there is nothing.
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
    if supersample == 1:
        _fill(seen, nearest, spans, table, faces, face_part, looks, cut, lights, 1, focal, film)
    elif supersample == 2:
        _fill(seen, nearest, spans, table, faces, face_part, looks, cut, lights, 2, focal, film)
    else:
        _fill(seen, nearest, spans, table, faces, face_part, looks, cut, lights, supersample, focal, film)
