"""Rotations as matrices and as vectors along their axes, in plain loops.

Why: a pose is two dozen 3 x 3 matrices, for which a call into numpy costs fifty times the arithmetic; and every sum has
its order, whatever matrix library a machine has.
Source: Rodrigues' formula; logarithms by way of quaternions, half turns included. Trade-off: none of it is
differentiable; `batched_skinning` is.
"""

from math import atan2, cos, sin, sqrt

import numpy as np
from jaxtyping import Float, Float32, Float64
from numba import njit

__all__ = ["changed", "euler", "matrices", "product", "rodrigues", "rotation_vectors"]


def matrices(vectors: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """Return the matrices of axis-angle vectors, radians."""
    flat = np.ascontiguousarray(vectors, np.float64)
    return rodrigues(flat.reshape(-1, 3)).reshape(*flat.shape, 3)


def rotation_vectors(rotations: Float64[np.ndarray, "n 3 3"]) -> Float32[np.ndarray, "n 3"]:
    """Return the axis-angle vectors of rotations, radians; half turns included."""
    return _logarithms(rotations).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def rodrigues(vectors: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3 3"]:
    """Return the matrices of axis-angle vectors, radians."""
    turns = np.zeros((vectors.shape[0], 3, 3))
    for joint in range(turns.shape[0]):
        x, y, z = vectors[joint]
        angle = sqrt(x * x + y * y + z * z)
        cosine, sine = cos(angle), sin(angle)
        if angle > 0.0:
            x, y, z = x / angle, y / angle, z / angle
        rest = 1.0 - cosine
        turns[joint, 0] = (cosine + x * x * rest, x * y * rest - z * sine, x * z * rest + y * sine)
        turns[joint, 1] = (y * x * rest + z * sine, cosine + y * y * rest, y * z * rest - x * sine)
        turns[joint, 2] = (z * x * rest - y * sine, z * y * rest + x * sine, cosine + z * z * rest)
    return turns


@njit(cache=True, nogil=True, error_model="numpy")
def product(a: Float64[np.ndarray, "3 3"], b: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """Return a b."""
    out = np.empty((3, 3))
    for row in range(3):
        for column in range(3):
            out[row, column] = a[row, 0] * b[0, column] + a[row, 1] * b[1, column] + a[row, 2] * b[2, column]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def euler(x: float, y: float, z: float) -> Float64[np.ndarray, "3 3"]:
    """Turn about z, then x, then y, radians."""
    cx, sx, cy, sy, cz, sz = cos(x), sin(x), cos(y), sin(y), cos(z), sin(z)
    about_x, about_y, about_z = np.eye(3), np.eye(3), np.eye(3)
    about_x[1, 1], about_x[1, 2], about_x[2, 1], about_x[2, 2] = cx, -sx, sx, cx
    about_y[0, 0], about_y[0, 2], about_y[2, 0], about_y[2, 2] = cy, sy, -sy, cy
    about_z[0, 0], about_z[0, 1], about_z[1, 0], about_z[1, 1] = cz, -sz, sz, cz
    return product(product(about_y, about_x), about_z)


@njit(cache=True, nogil=True, error_model="numpy")
def changed(
    local: Float64[np.ndarray, "n 3 3"], turns: Float64[np.ndarray, "n 3 3"], parents: np.ndarray
) -> Float64[np.ndarray, "n 3 3"]:
    """Return C_p^-1 R_j C_j of every joint j with parent p (-1: none), where R is `local` and C is `turns`."""
    out = np.empty_like(local)
    for joint in range(local.shape[0]):
        turned = product(local[joint], turns[joint])
        out[joint] = turned if parents[joint] < 0 else product(turns[parents[joint]].T, turned)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _logarithms(rotations: Float64[np.ndarray, "n 3 3"]) -> Float64[np.ndarray, "n 3"]:
    out = np.zeros((rotations.shape[0], 3))
    for joint in range(out.shape[0]):
        r = rotations[joint]
        w = sqrt(max(0.0, 1.0 + (r[0, 0] + r[1, 1] + r[2, 2]))) / 2.0
        if w > 1e-6:
            x, y, z = (
                (r[2, 1] - r[1, 2]) / (4.0 * w), (r[0, 2] - r[2, 0]) / (4.0 * w), (r[1, 0] - r[0, 1]) / (4.0 * w)
            )  # fmt: skip
        else:
            x, y, z = _half_turn(r)
        length = sqrt(x * x + y * y + z * z)
        if length > 1e-12:
            angle = 2.0 * atan2(length, w)
            out[joint] = (x / length * angle, y / length * angle, z / length * angle)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _half_turn(r: Float64[np.ndarray, "3 3"]) -> tuple[float, float, float]:
    axis, largest = np.empty(3), 0
    for n in range(3):
        axis[n] = sqrt(max(0.0, (r[n, n] + 1.0) / 2.0))
        largest = n if axis[n] > axis[largest] else largest
    for n in range(3):
        if n != largest:
            axis[n] *= np.sign(r[largest, n] + r[n, largest])
    return axis[0], axis[1], axis[2]
