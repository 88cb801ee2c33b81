"""Linear blend skinning in plain loops: from shape coefficients and joint rotations to vertices, one body at a time.

Source: Loper et al. 2015, eqs. 2 to 10. Float64 in a fixed order, so that rendered bytes do not depend on the machine's
matrix library, and rounded to 2**-20 m, which swallows the last bits in which sines of different machines differ.
Trade-off: neither batched nor differentiable, which `batched_skinning.skin` is; that one needs torch, whose import
takes longer than all else that a rendering process begins with.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64
from numba import njit

from resight.rendering.body import Body
from resight.rendering.parts import PARENTS
from resight.rendering.rotations import rodrigues
from resight.rendering.stance import in_stance

__all__ = ["rest_vertices", "skin_one"]

_PARENTS: Final = np.array(PARENTS)
_GRID: Final = 2.0**20
"""Steps of a metre that results are rounded to."""


def rest_vertices(body: Body, betas: Float[np.ndarray, "10"]) -> Float32[np.ndarray, "v 3"]:
    """Shape the body and put it in the common stance: the coordinates that procedural textures are painted in.

    The mean shape's pelvis is the origin. A body that rests in the stance, as the capsule body does, is not posed.
    """
    pose = in_stance(body)
    if pose.any():
        return skin_one(body, betas, pose, -_mean_pelvis(body))[0]
    return _shape(body.v_template, body.shapedirs, np.asarray(betas, np.float64)).astype(np.float32)


def skin_one(
    body: Body,
    betas: Float[np.ndarray, "10"],
    pose: Float[np.ndarray, "24 3"],
    translation: Float[np.ndarray, "3"],
) -> tuple[Float32[np.ndarray, "v 3"], Float32[np.ndarray, "24 3"]]:
    """Pose one body; agrees with `batched_skinning.skin` to a few micrometres, and is the same on every machine."""
    sparse = _sparse(body)
    shaped, rest = _shaped(body, np.asarray(betas, np.float64).tobytes())
    turns = rodrigues(np.asarray(pose, np.float64))
    if sparse.corrected:
        shaped = shaped.copy()
        _correct(shaped.reshape(-1), sparse.correctives, (turns[1:] - np.eye(3)).ravel())
    return _pose(shaped, rest, turns, _PARENTS, sparse.owners, sparse.shares, np.asarray(translation, np.float64))


@lru_cache(maxsize=64)
def _shaped(body: Body, betas: bytes) -> tuple[Float64[np.ndarray, "v 3"], Float64[np.ndarray, "24 3"]]:
    """Shape the body, and find its joints before it is posed; one person is posed many times."""
    sparse = _sparse(body)
    shaped = _shape(body.v_template, body.shapedirs, np.frombuffer(betas, np.float64))
    return shaped, _regress(sparse.rows, sparse.columns, sparse.values, shaped)


def _mean_pelvis(body: Body) -> np.ndarray:
    return body.J_regressor[0].astype(np.float64) @ body.v_template.astype(np.float64)


class _Sparse:
    """The few weights of each vertex that are not zero, and the non-zero entries of the regressor."""

    def __init__(self, body: Body) -> None:
        most = int((body.weights > 0).sum(axis=1).max())
        self.owners = np.argsort(-body.weights, axis=1, kind="stable")[:, :most].astype(np.int64)
        self.shares = np.take_along_axis(body.weights, self.owners, axis=1).astype(np.float64)
        self.rows, self.columns = np.nonzero(body.J_regressor)
        self.values = body.J_regressor[self.rows, self.columns].astype(np.float64)
        self.corrected = bool(body.posedirs.any())
        moved = body.posedirs if self.corrected else body.posedirs[:0]
        self.correctives = np.ascontiguousarray(moved.reshape(-1, body.posedirs.shape[2]).T)  # (207, 3 V)


@lru_cache(maxsize=4)
def _sparse(body: Body) -> _Sparse:
    return _Sparse(body)


@njit(cache=True, nogil=True, error_model="numpy")
def _shape(template: np.ndarray, shapedirs: np.ndarray, betas: np.ndarray) -> np.ndarray:
    shaped = template.astype(np.float64)
    for vertex in range(shaped.shape[0]):
        for axis in range(3):
            for k in range(betas.shape[0]):
                shaped[vertex, axis] += shapedirs[vertex, axis, k] * betas[k]
    return shaped


@njit(cache=True, nogil=True, error_model="numpy")
def _correct(flat: np.ndarray, correctives: np.ndarray, bend: np.ndarray) -> None:
    """Add the pose correctives in place; `bend` has the 207 entries of the joints' rotations less the identity."""
    for k in range(bend.shape[0]):
        if bend[k] != 0.0:
            for entry in range(flat.shape[0]):
                flat[entry] += correctives[k, entry] * bend[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _regress(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shaped: np.ndarray) -> np.ndarray:
    joints = np.zeros((24, 3))
    for entry in range(rows.shape[0]):
        for axis in range(3):
            joints[rows[entry], axis] += values[entry] * shaped[columns[entry], axis]
    return joints


@njit(cache=True, nogil=True, error_model="numpy")
def _pose(
    shaped: np.ndarray,
    rest: np.ndarray,
    turns: np.ndarray,
    parents: np.ndarray,
    owners: np.ndarray,
    shares: np.ndarray,
    translation: np.ndarray,
) -> tuple[Float32[np.ndarray, "v 3"], Float32[np.ndarray, "24 3"]]:
    """Vertices and joints, rounded."""
    world, places = turns.copy(), rest.copy()
    for joint in range(1, 24):
        parent = parents[joint]
        for row in range(3):
            place = places[parent, row]
            for k in range(3):
                place += world[parent, row, k] * (rest[joint, k] - rest[parent, k])
            places[joint, row] = place
            for column in range(3):
                total = 0.0
                for k in range(3):
                    total += world[parent, row, k] * turns[joint, k, column]
                world[joint, row, column] = total
    vertices = np.empty(shaped.shape, np.float32)
    for vertex in range(shaped.shape[0]):
        x, y, z = translation[0], translation[1], translation[2]
        for slot in range(owners.shape[1]):
            share = shares[vertex, slot]
            if share > 0.0:
                joint = np.uint64(owners[vertex, slot])  # unsigned: no look out for negative indices
                dx, dy, dz = (
                    shaped[vertex, 0] - rest[joint, 0], shaped[vertex, 1] - rest[joint, 1],
                    shaped[vertex, 2] - rest[joint, 2],
                )  # fmt: skip
                turn = world[joint]
                x += share * (places[joint, 0] + turn[0, 0] * dx + turn[0, 1] * dy + turn[0, 2] * dz)
                y += share * (places[joint, 1] + turn[1, 0] * dx + turn[1, 1] * dy + turn[1, 2] * dz)
                z += share * (places[joint, 2] + turn[2, 0] * dx + turn[2, 1] * dy + turn[2, 2] * dz)
        vertices[vertex, 0] = np.rint(x * _GRID) / _GRID
        vertices[vertex, 1] = np.rint(y * _GRID) / _GRID
        vertices[vertex, 2] = np.rint(z * _GRID) / _GRID
    joints = np.empty((24, 3), np.float32)
    for joint in range(24):
        for row in range(3):
            joints[joint, row] = np.rint((places[joint, row] + translation[row]) * _GRID) / _GRID
    return vertices, joints
