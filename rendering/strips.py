"""Strips cut out of the trunk's own surface: straps, belts and necklines, meshes that are rendered over the clothes.

What: each function cuts the faces of the trunk along planes in the rest pose and keeps what lies between them; a
strip's vertices are mixtures of the body's, so it moves with the body in any pose. Why: a part of the body wears one
thing above its cut and one below; what lies across needs faces of its own. Source: clipping convex polygons, Sutherland
and Hodgman 1974. Trade-off: planes only, so a neckline's bow is a polygon.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64, Int64

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID, PART_ID

__all__ = ["Strip", "cross_belt", "neckline", "shoulder_straps"]

_BOW = 7
"""Planes that make the bow of a neckline."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """A piece of a body's surface.

    Attributes:
        mesh: its faces and parts, as a body of its own.
        corners: (n, 3) vertices of the body that each vertex is mixed of.
        shares: (n, 3) how much of each.
    """

    mesh: Body
    corners: Int64[np.ndarray, "n 3"]
    shares: Float64[np.ndarray, "n 3"]

    def of(self, vertices: Float32[np.ndarray, "v 3"]) -> Float32[np.ndarray, "n 3"]:
        """Return the strip's vertices on a body whose vertices these are."""
        return (vertices[self.corners] * self.shares[..., None]).sum(1).astype(np.float32)


@lru_cache(maxsize=4)
def shoulder_straps(body: Body) -> Strip:
    """Return two straps over the shoulders, front and back, down to the ribs."""
    joints = _joints(body)
    off, low = 0.58 * joints[JOINT_ID["left_shoulder"], 0], joints[JOINT_ID["spine2"], 1] - 0.06
    bands = [[(1.0, 0.0, off - 0.024), (-1.0, 0.0, -off - 0.024)], [(-1.0, 0.0, off - 0.024), (1.0, 0.0, -off - 0.024)]]
    return _cut(body, [[*band, (0.0, 1.0, low)] for band in bands], front_only=False)


@lru_cache(maxsize=4)
def cross_belt(body: Body, side: int) -> Strip:
    """Return a belt from the hip on one side (1 the left) over the other shoulder."""
    joints = _joints(body)
    shoulder, pelvis = joints[JOINT_ID["left_shoulder"]], joints[JOINT_ID["pelvis"]]
    low = np.array([side * 1.1 * shoulder[0], pelvis[1]])
    high = np.array([-side * 0.55 * shoulder[0], shoulder[1] + 0.06])
    way = (high - low) / np.sqrt((high - low) @ (high - low))
    across, middle = (float(way[1]), float(-way[0])), float(low @ (way[1], -way[0]))
    band = [(*across, middle - 0.022), (-across[0], -across[1], -middle - 0.022)]
    return _cut(body, [band], front_only=False)


@lru_cache(maxsize=16)
def neckline(body: Body, depth: float) -> Strip:
    """Return the skin that a low neckline shows: a bow below the neck, `depth` metres deep, on the front only."""
    joints = _joints(body)
    neck, half = joints[JOINT_ID["neck"]], 0.5 * joints[JOINT_ID["left_shoulder"], 0]
    planes: list[tuple[float, float, float]] = []
    for turn in np.pi * np.arange(_BOW) / (_BOW - 1):  # tangents of an ellipse about the neck, from side to side
        x, y = float(np.cos(turn)), float(np.sin(turn))
        across, down = x / half, y / (depth + 0.02)
        planes.append((-across, down, -1.0 + down * float(neck[1] + 0.02)))
    return _cut(body, [planes], front_only=True)


def _joints(body: Body) -> Float64[np.ndarray, "24 3"]:
    return body.J_regressor.astype(np.float64) @ body.v_template.astype(np.float64)


def _cut(body: Body, pieces: Sequence[Sequence[tuple[float, float, float]]], *, front_only: bool) -> Strip:
    """Keep the trunk where, for all planes (a, b, c) of a piece, a x + b y >= c in the rest pose."""
    template = body.v_template.astype(np.float64)
    trunk = np.isin(body.face_part, (PART_ID["torso"], PART_ID["hips"]))
    if front_only:
        trunk &= template[body.f].mean(1)[:, 2] > _joints(body)[JOINT_ID["neck"], 2]
    shares: list[np.ndarray] = []
    corners: list[np.ndarray] = []
    parts: list[int] = []
    for face in np.nonzero(trunk)[0].tolist():
        for planes in pieces:
            left = _clipped(template[body.f[face]], planes)
            for n in range(1, len(left) - 1):
                shares += [left[0], left[n], left[n + 1]]
                corners += [body.f[face]] * 3
                parts.append(int(body.face_part[face]))
    return _joined(body, np.array(corners, np.int64), np.array(shares), np.array(parts, np.uint8))


def _clipped(points: Float64[np.ndarray, "3 3"], planes: Sequence[tuple[float, float, float]]) -> list[np.ndarray]:
    """Return the corners of what is left of a triangle, as mixtures of its corners."""
    left = list(np.eye(3))
    for a, b, c in planes:
        height = [float(corner @ points @ (a, b, 0.0)) - c for corner in left]
        kept: list[np.ndarray] = []
        for n, corner in enumerate(left):
            last, before = left[n - 1], height[n - 1]
            if (before >= 0) != (height[n] >= 0):
                kept.append(last + before / (before - height[n]) * (corner - last))
            if height[n] >= 0:
                kept.append(corner)
        left = kept
    return left


def _joined(
    body: Body, corners: Int64[np.ndarray, "m 3"], shares: Float64[np.ndarray, "m 3"], parts: np.ndarray
) -> Strip:
    """Make one vertex of those at the same place, so that light runs smoothly over the strip."""
    places = (body.v_template.astype(np.float64)[corners] * shares[..., None]).sum(1)
    _, first, which = np.unique(np.round(places, 6), axis=0, return_index=True, return_inverse=True)
    count = len(first)
    mesh = replace(
        body,
        v_template=places[first].astype(np.float32),
        shapedirs=np.zeros((count, 3, 10), np.float32),
        posedirs=np.zeros((count, 3, 207), np.float32),
        J_regressor=np.zeros((24, count), np.float32),
        weights=np.zeros((count, 24), np.float32),
        along=np.zeros(count, np.float32),
        f=np.ascontiguousarray(which.reshape(-1, 3), np.int32),
        face_part=parts,
        vertex_ids={},
        seams=np.zeros((0, 2), np.int32),  # its vertices are joined where they meet
    )
    return Strip(mesh=mesh, corners=corners[first], shares=shares[first])
