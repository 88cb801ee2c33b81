"""Skinning weights of the capsule body: smooth along each tube, shared by neighbouring joints only.

Why: weights by distance let a hand at rest beside the thigh follow the leg; weights along a chain cannot. Across each
joint two bones are mixed by a smoothstep, narrow enough that no vertex of a limb follows three bones.
Source: own construction. Trade-off: elbows and knees lose some volume at large bends, as linear blending does.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float

from resight.rendering.parts import JOINT_ID

__all__ = ["tube_weights"]

# joint where the chain starts, then (joint, position where it takes over, half-width of the change)
_TRUNK: Final = (
    ("spine1", 1.04, 0.05),
    ("spine2", 1.16, 0.045),
    ("spine3", 1.25, 0.04),
    ("neck", 1.43, 0.04),
    ("head", 1.52, 0.03),
)
_LEG: Final = (("hip", -0.02, 0.07), ("knee", 0.5, 0.05), ("ankle", 1.0, 0.04))
_ARM: Final = (("shoulder", -0.025, 0.05), ("elbow", 0.4, 0.05), ("wrist", 0.8, 0.03), ("hand", 0.9, 0.03))
_FOOT: Final = (("foot", 0.67, 0.08),)
_HAIR: Final = (("neck", -1.47, 0.05), ("spine3", -1.37, 0.05))  # heights, negated: the chain runs downwards


def tube_weights(
    tube: str, at: Float[np.ndarray, "v"], vertices: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, "v 24"]:
    """Return the weights of the vertices of one tube of the mean body.

    Args:
        tube: its name: trunk, head, hair, or a limb such as "left_arm".
        at: each vertex's coordinate along the tube.
        vertices: where the vertices are, pelvis at the origin.
    """
    side, _, limb = tube.rpartition("_")
    if limb == "trunk":
        return _shoulders(_chain("", "pelvis", _TRUNK, at), at, vertices[:, 0])
    if limb == "hair":
        return _chain("", "head", _HAIR, -at)
    if limb == "head":
        return _chain("", "head", (), at)
    start, links = {"leg": ("pelvis", _LEG), "arm": (f"{side}_collar", _ARM), "foot": (f"{side}_ankle", _FOOT)}[limb]
    return _chain(f"{side}_", start, links, at)


def _chain(
    side: str, start: str, links: Sequence[tuple[str, float, float]], at: np.ndarray
) -> Float[np.ndarray, "v 24"]:
    weights = np.zeros((len(at), len(JOINT_ID)))
    remaining = np.ones(len(at))
    owner = start
    for joint, position, half_width in links:
        taken = _smoothstep((at - position) / (2 * half_width) + 0.5)
        weights[:, JOINT_ID[owner]] += remaining - taken
        remaining, owner = taken, side + joint
    weights[:, JOINT_ID[owner]] += remaining
    return weights


def _shoulders(weights: np.ndarray, height: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Let the collars carry the outer chest, and the hips the outer seat."""
    for side, sign in (("left", 1.0), ("right", -1.0)):
        outer = _smoothstep((sign * x - 0.04) / 0.11)
        collar = outer * _smoothstep((height - 1.28) / 0.07) * weights[:, JOINT_ID["spine3"]]
        hip = 0.35 * outer * _smoothstep((0.90 - height) / 0.07) * weights[:, JOINT_ID["pelvis"]]
        for joint, share, giver in ((f"{side}_collar", collar, "spine3"), (f"{side}_hip", hip, "pelvis")):
            weights[:, JOINT_ID[joint]] += share
            weights[:, JOINT_ID[giver]] -= share
    return weights


def _smoothstep(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
