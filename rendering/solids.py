"""Things that are not bodies: boxes, posts and cushions, drawn by the same renderer as people.

What: unit shapes, and `place` which scales, turns and sets one down as a `Solid` that `Solid.frame` renders. Why: bags,
stools, walls and posts must have the same light, the same pixels and the same depth as the people beside them. Source:
the cushion is a superellipsoid, Barr 1981. Trade-off: one material each, and no shadow of one thing on another.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Float32, Float64

from resight.rendering.appearance import Appearance, Wear, dress
from resight.rendering.body import Body
from resight.rendering.parts import PARENTS, PART_ID, PARTS

__all__ = ["Shape", "Solid", "place", "unit_shape"]

Shape = Literal["box", "post", "cushion"]
"""box: flat faces. post: an upright cylinder. cushion: a box with round edges, like a bag. All fill [-1/2, 1/2]^3."""

_ROUND: Final = 16
"""Corners of a cylinder, and of a cushion's equator."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """A thing in its place.

    Attributes:
        shape: unit mesh with faces and parts, as a body that never moves.
        vertices: (v, 3) in the world, metres.
        rest: (v, 3) scaled but not turned or moved: the space of its pattern.
        look: of its only material.
    """

    shape: Body
    vertices: Float32[np.ndarray, "v 3"]
    rest: Float32[np.ndarray, "v 3"]
    look: Appearance


def place(
    shape: Shape,
    *,
    centre: Float[np.ndarray, "3"],
    size: tuple[float, float, float],
    turn: Float[np.ndarray, "3 3"] | None = None,
    look: Float32[np.ndarray, "16"],
    part: str = "torso",
) -> Solid:
    """Set a thing down.

    Args:
        shape: which.
        centre: metres in the world.
        size: along its own axes, metres.
        turn: from its own axes to the world's; none when they are the same.
        look: row of the material table.
        part: body part that it counts as where it belongs to a person.
    """
    body = unit_shape(shape, part)
    rest = body.v_template * np.array(size, np.float32)
    turned = rest.astype(np.float64) if turn is None else rest @ np.asarray(turn, np.float64).T
    vertices = (turned + np.asarray(centre, np.float64)).astype(np.float32)
    return Solid(shape=body, vertices=vertices, rest=rest, look=dress(dict.fromkeys(PARTS, Wear(upper=look))))


@cache
def unit_shape(shape: Shape, part: str) -> Body:
    """Return a unit mesh whose faces all belong to `part`."""
    vertices, faces = {"box": _box, "post": _post, "cushion": _cushion}[shape]()
    count = len(vertices)
    return Body(
        v_template=vertices.astype(np.float32),
        shapedirs=np.zeros((count, 3, 10), np.float32),
        posedirs=np.zeros((count, 3, 207), np.float32),
        J_regressor=np.full((24, count), 1 / count, np.float32),
        weights=np.full((count, 24), 1 / 24, np.float32),
        kintree_table=np.array([PARENTS, range(24)], np.int32),
        f=faces.astype(np.int32),
        face_part=np.full(len(faces), PART_ID[part], np.uint8),
        along=np.zeros(count, np.float32),
        vertex_ids={},
    )


def _box() -> tuple[Float64[np.ndarray, "24 3"], np.ndarray]:
    """Six squares with corners of their own, so that light changes at the edges."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    vertices: list[np.ndarray] = []
    faces: list[tuple[int, int, int]] = []
    for axis in range(3):
        for sign in (-0.5, 0.5):
            first = 4 * len(vertices)
            square = np.insert(corners if sign > 0 else corners[::-1], axis, sign, axis=1)
            vertices.append(square if axis != 1 else square[::-1])
            faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return np.concatenate(vertices), np.array(faces)


def _post() -> tuple[Float64[np.ndarray, "n 3"], np.ndarray]:
    angle = 2 * np.pi * np.arange(_ROUND) / _ROUND
    ring = 0.5 * np.stack([np.sin(angle), np.zeros(_ROUND), np.cos(angle)], axis=1)
    up = np.array([0, 0.5, 0])
    vertices = np.concatenate([ring - up, ring + up, ring + up, [up]])  # the side, then the lid with its middle
    n, m = np.arange(_ROUND), (np.arange(_ROUND) + 1) % _ROUND
    side = [np.stack([n, m, m + _ROUND], 1), np.stack([n, m + _ROUND, n + _ROUND], 1)]
    lid = np.stack([n + 2 * _ROUND, m + 2 * _ROUND, np.full(_ROUND, 3 * _ROUND)], 1)
    return vertices, np.concatenate([*side, lid])


def _cushion() -> tuple[Float64[np.ndarray, "n 3"], np.ndarray]:
    """Points of a sphere, each pushed out to the superellipsoid of exponent 5."""
    rows = _ROUND // 2
    polar, angle = np.meshgrid(
        np.pi * np.arange(rows + 1) / rows, 2 * np.pi * np.arange(_ROUND) / _ROUND, indexing="ij"
    )
    sphere = np.stack([np.sin(polar) * np.sin(angle), np.cos(polar), np.sin(polar) * np.cos(angle)], axis=-1)
    vertices = (0.5 * sphere / (np.abs(sphere) ** 5).sum(-1, keepdims=True) ** 0.2).reshape(-1, 3)
    row, n = np.meshgrid(np.arange(rows), np.arange(_ROUND), indexing="ij")
    m = (n + 1) % _ROUND
    a, b = row * _ROUND + n, row * _ROUND + m
    below = _ROUND
    faces = np.concatenate([np.stack([a, a + below, b + below], -1), np.stack([a, b + below, b], -1)]).reshape(-1, 3)
    return vertices, faces
