"""The geometry of clothes: which faces are drawn at all, and how far cloth stands off the body.

Cloth is the body itself, pushed out along its normals, so it needs no simulation and no collision test.
Source: own design. Trade-off: thick cloth also thickens what it covers; beyond about 4 cm armpits begin to swell.
"""

from math import sqrt

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8
from numba import njit

from resight.rendering.appearance import KINDS
from resight.rendering.rasteriser import DRAW, HIDE_LOWER, HIDE_UPPER, SKIP

__all__ = ["close_seams", "face_keys", "face_modes", "inflate", "normals", "standoffs"]

_HIDDEN = KINDS["hidden"]


@njit(cache=True, nogil=True, error_model="numpy")
def normals(vertices: Float64[np.ndarray, "v 3"], faces: Int32[np.ndarray, "f 3"]) -> Float64[np.ndarray, "v 3"]:
    """Unit normal of each vertex, faces weighted by their area; summed in the order of the faces."""
    total = np.zeros((vertices.shape[0], 3))
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        )  # fmt: skip
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        )  # fmt: skip
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            total[corner, 0] += nx
            total[corner, 1] += ny
            total[corner, 2] += nz
    for vertex in range(vertices.shape[0]):
        x, y, z = total[vertex, 0], total[vertex, 1], total[vertex, 2]
        length = sqrt(x * x + y * y + z * z)
        if length > 0.0:
            total[vertex, 0], total[vertex, 1], total[vertex, 2] = x / length, y / length, z / length
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def close_seams(values: Float64[np.ndarray, "v 3"], seams: Int32[np.ndarray, "s 2"]) -> None:
    """Give every copy on a seam (first column) the values of its original, in place."""
    for seam in range(seams.shape[0]):
        copy, original = seams[seam, 0], seams[seam, 1]
        for axis in range(3):
            values[copy, axis] = values[original, axis]


@njit(cache=True, nogil=True, error_model="numpy")
def standoffs(
    faces: Int32[np.ndarray, "f 3"],
    face_part: UInt8[np.ndarray, "f"],
    along: Float64[np.ndarray, "v"],
    cut: Float64[np.ndarray, "p"],
    inflation: Float64[np.ndarray, "p 2"],
    flare: Float64[np.ndarray, "p"],
) -> Float64[np.ndarray, "v"]:
    """Metres each vertex is pushed out: the most that any part around it asks for."""
    out = np.zeros(along.shape[0])
    for face in range(faces.shape[0]):
        part = face_part[face]
        edge = cut[part]
        slope = flare[part] / max(min(edge, 1.0), 1e-6)
        for corner in range(3):
            vertex = faces[face, corner]
            upper = inflation[part, 0] + slope * along[vertex]
            amount = upper if along[vertex] < edge else inflation[part, 1]
            out[vertex] = max(out[vertex], amount)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def inflate(
    vertices: Float64[np.ndarray, "v 3"], faces: Int32[np.ndarray, "f 3"], standoff: Float64[np.ndarray, "v"]
) -> Float64[np.ndarray, "v 3"]:
    """Push vertices out along their normals by their `standoffs`, metres."""
    out = vertices.copy()
    direction = normals(out, faces)
    for vertex in range(out.shape[0]):
        for axis in range(3):
            out[vertex, axis] += standoff[vertex] * direction[vertex, axis]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def face_modes(
    faces: Int32[np.ndarray, "f 3"],
    face_part: UInt8[np.ndarray, "f"],
    along: Float64[np.ndarray, "v"],
    looks: Float64[np.ndarray, "looks 18"],
    cut: Float64[np.ndarray, "p"],
) -> UInt8[np.ndarray, "f"]:
    """Tell the rasteriser which faces are hidden, wholly or on one side of the cut."""
    mode = np.zeros(faces.shape[0], np.uint8)
    for face in range(faces.shape[0]):
        part = np.int64(face_part[face])
        hide_upper, hide_lower = looks[2 * part, 0] == _HIDDEN, looks[2 * part + 1, 0] == _HIDDEN
        if not hide_upper and not hide_lower:
            continue
        first, second, third = along[faces[face, 0]], along[faces[face, 1]], along[faces[face, 2]]
        least, most = min(first, second, third), max(first, second, third)
        if (hide_upper and most < cut[part]) or (hide_lower and least >= cut[part]) or (hide_upper and hide_lower):
            mode[face] = SKIP
        elif hide_upper and least < cut[part]:
            mode[face] = HIDE_UPPER
        elif hide_lower and most >= cut[part]:
            mode[face] = HIDE_LOWER
        else:
            mode[face] = DRAW
    return mode


@njit(cache=True, nogil=True, error_model="numpy")
def face_keys(
    faces: Int32[np.ndarray, "f 3"],
    face_part: UInt8[np.ndarray, "f"],
    along: Float64[np.ndarray, "v"],
    cut: Float64[np.ndarray, "p"],
) -> Int64[np.ndarray, "f"]:
    """2 * part + (1 below the cut) for each face; the negative of 2 * part for faces that the cut crosses."""
    keys = np.empty(faces.shape[0], np.int64)
    for face in range(keys.shape[0]):
        part = np.int64(face_part[face])
        below = 0
        for corner in range(3):
            below += 1 if along[faces[face, corner]] >= cut[part] else 0
        keys[face] = 2 * part if below == 0 else 2 * part + 1 if below == 3 else -2 * part
    return keys
