"""Hair for bodies that come without: the capsule body's closed shell, fitted to another head.

What: `hair_shell` returns vertices, faces, weights and shape directions to append to a body. Why: published bodies
are bald, and hair and caps are worn on a part of their own (`parts`). Source: own; the shell is `capsule`'s hair.
Trade-off: a shell, not strands; it follows the head, the neck and the upper back.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from resight.rendering.body import Body
from resight.rendering.capsule import capsule_body
from resight.rendering.parts import JOINT_ID, PART_ID

__all__ = ["Shell", "hair_shell"]

_CROWN, _NOSE, _FRONT, _BACK, _WIDE = 1.718 - 0.93, 1.590 - 0.93, 0.094, -0.100, 0.075
"""The capsule body's skull: heights of crown and nose above the pelvis, ends of forehead and nape in z, half-width."""

_OFF: Final = 0.009
"""Metres between the scalp and the hair that covers it."""

_NEAREST: Final = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Shell:
    """N vertices to append.

    Attributes:
        at: (N, 3) places, metres.
        faces: (M, 3) numbers within the shell.
        along: (N,) place on the hair.
        weights: (N, 24) skinning weights.
        near: (N, k) the body's vertices whose displacements each one follows.
        share: (N, k) in which shares.
    """

    at: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    along: Float[np.ndarray, "n"]
    weights: Float[np.ndarray, "n 24"]
    near: Int[np.ndarray, "n k"]
    share: Float[np.ndarray, "n k"]


def hair_shell(body: Body) -> Shell:
    """Fit the shell to the head of the mean shape in its rest pose."""
    from scipy.spatial import KDTree

    model = capsule_body()
    of_hair = model.f[model.face_part == PART_ID["hair"]]
    own = np.unique(of_hair)
    skin = body.v_template.astype(np.float64)
    head = body.weights[:, JOINT_ID["head"]] > 0.5
    at = _fitted(model.v_template[own].astype(np.float64), skin[head])
    at = _outside(at, skin, body.f)
    upper = np.flatnonzero(body.weights[:, [JOINT_ID[j] for j in ("head", "neck", "spine3")]].sum(axis=1) > 0.5)
    distance, near = KDTree(skin[upper]).query(at, k=_NEAREST)
    share = 1 / (distance + 0.01)
    return Shell(
        at=at,
        faces=np.searchsorted(own, of_hair),
        along=model.along[own].astype(np.float64),
        weights=model.weights[own].astype(np.float64),
        near=upper[near],
        share=share / share.sum(axis=1, keepdims=True),
    )


def _fitted(hair: np.ndarray, skull: np.ndarray) -> np.ndarray:
    """Map the capsule's skull onto this one: heights by crown and nose, depths and widths above the ears."""
    crown, nose = skull[:, 1].max(), skull[skull[:, 2].argmax(), 1]
    tall = (crown - nose) / (_CROWN - _NOSE)
    brow = skull[np.abs(skull[:, 1] - (crown - 0.35 * (crown - nose))) < 0.02]
    front, back, wide = brow[:, 2].max(), brow[:, 2].min(), np.abs(brow[:, 0]).max()
    deep = (front - back) / (_FRONT - _BACK)
    return np.stack(
        [hair[:, 0] * wide / _WIDE, crown + (hair[:, 1] - _CROWN) * tall, back + (hair[:, 2] - _BACK) * deep], axis=1
    )


def _outside(hair: np.ndarray, skin: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Push what lies just under the skin out of it, away from the axis of the head; the hair line stays inside."""
    out = hair.copy()
    for vertex, (x, y, z) in enumerate(hair):
        level = _level(skin, faces, min(y, skin[:, 1].max() - 0.004))
        if not len(level):
            continue
        middle = (level[:, 1].min() + level[:, 1].max()) / 2 if y > hair[:, 1].max() - 0.2 else z + 0.08
        ray = np.array([x, z - middle])
        length = np.sqrt(ray @ ray)
        around = level - (0.0, middle)
        radius = np.sqrt(np.sum(around**2, axis=1))
        ahead = (around @ ray) > 0.94 * radius * max(length, 1e-9)
        surface = radius[ahead].max() if ahead.any() and length > 1e-4 else 0.0
        if surface > 0 and length > 0.80 * surface and length < surface + _OFF:
            out[vertex, [0, 2]] = ray / length * (surface + _OFF) + (0.0, middle)
    return out


def _level(at: np.ndarray, faces: np.ndarray, height: float) -> np.ndarray:
    """Cut the mesh at a height: (n, 2) points x, z within a hand's breadth of the middle."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a, b = at[edges[:, 0]], at[edges[:, 1]]
    crosses = ((a[:, 1] < height) != (b[:, 1] < height)) & (np.abs(a[:, 0]) < 0.12)
    a, b = a[crosses], b[crosses]
    points = a + (b - a) * ((height - a[:, 1]) / (b[:, 1] - a[:, 1]))[:, None]
    return points[:, [0, 2]]
