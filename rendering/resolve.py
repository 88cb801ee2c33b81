"""The second pass: from visible faces to colour, coverage, part, depth and normal of every pixel.

A pixel's samples are grouped by what they show (a part, above or below its cut), and each group is shaded once, at the
pixel's centre when one face fills it and else at the group's first sample.
Source: Akeley 1993 (shade once, sample often). Trade-off: two limbs of the same part in one pixel share a shade.
"""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from numba import njit

from resight.rendering.lanes import LANES, empty_points, put, shade_points, weights
from resight.rendering.samples import NOTHING, face_of, nearness_of

__all__ = ["ATTRIBUTES", "Film", "resolve", "vertex_table"]


ATTRIBUTES: Final = 12
"""Columns of the vertex table: screen x, y in 1/256 of a sample, inverse depth, normal (3), rest position (3), x and z
of the rest normal, along. One table instead of many arrays: numba counts references to each array at each call."""


_BLOCK: Final = 8
"""Pixels that are looked over together where a row of the image begins and ends."""

_EMPTY: Final = np.int32(-2)
"""In place of a face: no sample of the pixel shows any."""


class Film(NamedTuple):
    """Where the pass writes: the arrays of a `Frame`, zero, depth infinite."""

    rgb: Float32[np.ndarray, "h w 3"]
    alpha: Float32[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"]
    part: UInt8[np.ndarray, "h w"]
    depth: Float32[np.ndarray, "h w"]
    normal: Float32[np.ndarray, "h w 3"]


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _key_at(table: np.ndarray, faces: np.ndarray, face: int, key: int, cut: np.ndarray, x: int, y: int) -> int:
    """The key of a face that the cut crosses, at sample (x, y)."""
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    wa, wb, wc = weights(table, a, b, c, x * 256.0 + 128.0, y * 256.0 + 128.0)
    place = wa * table[a, 11] + wb * table[b, 11] + wc * table[c, 11]
    return 1 - key if place >= cut[-key // 2] else -key


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _group(
    samples: np.ndarray,
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
            face = int(face_of(samples[y, x]))
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
def _shows_any(samples: np.ndarray, start: int, end: int) -> bool:
    """Whether any of these samples, of the flat image, shows a face."""
    found = samples[np.uint64(start)]
    for sample in range(np.uint64(start), np.uint64(end)):
        found |= samples[sample]
    return found != NOTHING


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _columns(samples: np.ndarray, row: int, supersample: int) -> tuple[int, int]:
    """Pixels of a row between which there is any face, to `_BLOCK` pixels: first column, end column."""
    width, block = samples.shape[1], _BLOCK * supersample
    first, end = width, 0
    flat = samples.ravel()
    for y in range(row * supersample, (row + 1) * supersample):
        left, right = 0, width
        start = y * width
        while left + block <= first and not _shows_any(flat, start + left, start + left + block):
            left += block
        while right - block >= max(end, left) and not _shows_any(flat, start + right - block, start + right):
            right -= block
        first, end = min(first, left), max(end, right)
    return first // supersample, (end + supersample - 1) // supersample


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _census(counts: np.ndarray, groups: int) -> tuple[int, int]:
    """How many samples are covered, and which group has most; of equals the first."""
    covered, most = 0, 0
    for slot in range(groups):
        covered += counts[slot]
        if counts[slot] > counts[most]:
            most = slot
    return covered, most


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _survey(
    samples: np.ndarray, face_keys: np.ndarray, top: int, left: int, supersample: int
) -> tuple[int | np.int32, bool, int, np.float32]:
    """Look over the samples of a pixel.

    Returns:
        The face of the first sample, `_EMPTY` where no sample shows any; whether all show the same one; the key of all,
        negative where they have not all the same or the cut decides; and the nearest inverse depth.
    """
    y0, x0 = np.uint64(top), np.uint64(left)  # unsigned: no look out for negative indices
    most = samples[y0, x0]
    first = face_of(most)
    every, some, differ = first, first, first ^ first
    for y in range(supersample):
        for x in range(supersample):
            code = samples[y0 + np.uint64(y), x0 + np.uint64(x)]
            face = face_of(code)
            every, some, differ = every | face, some & face, differ | (face ^ first)  # negative where there is no face
            most = max(most, code)
    near = nearness_of(most)
    if every < 0:
        return first if some >= 0 else _EMPTY, False, -1, near
    key = face_keys[np.uint64(first)]
    other = key ^ key
    for y in range(supersample):
        for x in range(supersample):
            other |= key ^ face_keys[np.uint64(face_of(samples[y0 + np.uint64(y), x0 + np.uint64(x)]))]
    return first, differ == 0, key if other == 0 else -1, near


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _fill(
    samples: np.ndarray,
    table: np.ndarray,
    faces: np.ndarray,
    face_keys: np.ndarray,
    looks: np.ndarray,
    cut: np.ndarray,
    lights: np.ndarray,
    supersample: int,
    focal: float,
    film: Film,
) -> None:
    """Do the work of `resolve`; inlined, so that each caller's constant `supersample` unrolls the loops."""
    rgb, normal, alpha, depth = film.rgb.ravel(), film.normal.ravel(), film.alpha.ravel(), film.depth.ravel()
    mask, part = film.mask.ravel(), film.part.ravel()
    whole_pixel = supersample * supersample
    keys, counts = np.zeros(whole_pixel, np.int64), np.zeros(whole_pixel, np.int64)
    first_x, first_y = np.zeros(whole_pixel, np.int64), np.zeros(whole_pixel, np.int64)
    points, used = empty_points(), 0
    for row in range(film.alpha.shape[0]):
        first_column, end_column = _columns(samples, row, supersample)
        for column in range(first_column, end_column):
            top, left = row * supersample, column * supersample
            face, whole, key, near = _survey(samples, face_keys, top, left, supersample)
            if face == _EMPTY:
                continue
            if used + whole_pixel > LANES:
                shade_points(points, used, table, faces, looks, lights, rgb, normal)
                used = 0
            pixel = np.uint64(row * film.alpha.shape[1] + column)
            size = 1.0 / (float(near) * focal)
            half = 128.0 * supersample if whole else 128.0  # one face fills it: shade at its centre
            groups, covered = 1, whole_pixel
            if key >= 0:
                put(points, used, face, key, pixel, 1.0, True, left * 256.0 + half, top * 256.0 + half, size)
            else:
                groups = _group(
                    samples, row, column, supersample, face_keys, table, faces, cut, keys, counts, first_x, first_y
                )
                covered, most = _census(counts, groups)
                key = keys[most]
                half = half if groups == 1 else 128.0
                for slot in range(groups):
                    x, y, share = first_x[slot] * 256.0 + half, first_y[slot] * 256.0 + half, counts[slot] / whole_pixel
                    face = int(face_of(samples[first_y[slot], first_x[slot]]))
                    put(points, used + slot, face, keys[slot], pixel, share, slot == most, x, y, size)
            used += groups
            alpha[pixel] = covered / whole_pixel
            depth[pixel] = 1.0 / near
            if 2 * covered >= whole_pixel:
                mask[pixel] = 255
                part[pixel] = key // 2
    shade_points(points, used, table, faces, looks, lights, rgb, normal)


@njit(cache=True, nogil=True, error_model="numpy")
def resolve(
    samples: Int64[np.ndarray, "sh sw"],
    table: Float64[np.ndarray, "v 12"],
    faces: Int32[np.ndarray, "f 3"],
    face_keys: Int64[np.ndarray, "f"],
    looks: Float64[np.ndarray, "36 18"],
    cut: Float64[np.ndarray, "18"],
    lights: Float64[np.ndarray, "6 3"],
    supersample: int,
    focal: float,
    film: Film,
) -> None:
    """Fill `film` from the samples.

    Args:
        samples: of the image (`samples`).
        table: attributes of the vertices, see `ATTRIBUTES`.
        faces: corners.
        face_keys: of each face its row of `looks`; the negative of the even one where the cut decides
            (`garments.face_keys`).
        looks: material of part p above (row 2p) and below (2p + 1) its cut, then cosine and sine of its angle.
        cut: of each part.
        lights: rows: direction, colour, sky, ground, half vector, (wrap, 0, 0).
        supersample: samples a pixel and axis.
        focal: pixels; for the size of a pixel on the body.
        film: written.
    """
    if supersample == 1:
        _fill(samples, table, faces, face_keys, looks, cut, lights, 1, focal, film)
    elif supersample == 2:
        _fill(samples, table, faces, face_keys, looks, cut, lights, 2, focal, film)
    else:
        _fill(samples, table, faces, face_keys, looks, cut, lights, supersample, focal, film)
