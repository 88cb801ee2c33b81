"""Linear blend skinning in plain loops: from shape coefficients and joint rotations to vertices, one body at a time.

Source: Loper et al. 2015, eqs. 2 to 10. Float64 in a fixed order, so that rendered bytes do not depend on the machine's
matrix library, and rounded to 2**-20 m, which swallows the last bits in which sines of different machines differ.
Trade-off: neither batched nor differentiable, which `batched_skinning.skin` is; that one needs torch, whose import
takes longer than all else that a rendering process begins with.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32
from numba import njit

from resight.rendering.body import Body
from resight.rendering.parts import PARENTS
from resight.rendering.stance import in_stance

__all__ = ["rest_vertices", "skin_one"]


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
    shaped = _shape(body.v_template, body.shapedirs, np.asarray(betas, np.float64))
    rest = _regress(sparse.rows, sparse.columns, sparse.values, shaped)
    turns = _rodrigues(np.asarray(pose, np.float64))
    if sparse.corrected:
        _correct(shaped.reshape(-1), sparse.correctives, (turns[1:] - np.eye(3)).ravel())
    vertices, joints = _pose(
        shaped, rest, turns, np.array(PARENTS), sparse.owners, sparse.shares, np.asarray(translation, np.float64)
    )
    grid = 2.0**20
    return (np.round(vertices * grid) / grid).astype(np.float32), (np.round(joints * grid) / grid).astype(np.float32)


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
def _rodrigues(pose: np.ndarray) -> np.ndarray:
    turns = np.zeros((24, 3, 3))
    for joint in range(24):
        x, y, z = pose[joint]
        angle = np.sqrt(x * x + y * y + z * z)
        cosine, sine = np.cos(angle), np.sin(angle)
        if angle > 0.0:
            x, y, z = x / angle, y / angle, z / angle
        rest = 1.0 - cosine
        turns[joint, 0] = (cosine + x * x * rest, x * y * rest - z * sine, x * z * rest + y * sine)
        turns[joint, 1] = (y * x * rest + z * sine, cosine + y * y * rest, y * z * rest - x * sine)
        turns[joint, 2] = (z * x * rest - y * sine, z * y * rest + x * sine, cosine + z * z * rest)
    return turns


@njit(cache=True, nogil=True, error_model="numpy")
def _pose(
    shaped: np.ndarray,
    rest: np.ndarray,
    turns: np.ndarray,
    parents: np.ndarray,
    owners: np.ndarray,
    shares: np.ndarray,
    translation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
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
    vertices = np.empty_like(shaped)
    for vertex in range(shaped.shape[0]):
        for row in range(3):
            total = translation[row]
            for slot in range(owners.shape[1]):
                share = shares[vertex, slot]
                if share > 0.0:
                    joint = owners[vertex, slot]
                    moved = places[joint, row]
                    for k in range(3):
                        moved += world[joint, row, k] * (shaped[vertex, k] - rest[joint, k])
                    total += share * moved
            vertices[vertex, row] = total
    return vertices, places + translation
