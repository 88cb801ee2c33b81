"""One pose for every body: rotations told against a common stance are turned into those of a body's own rest pose.

What: poses (`poses`, `activities`, a user's file) count from the *stance* of the capsule body: legs slightly apart,
arms hanging 20 degrees off. Another body rests with its arms at 45 degrees, or straight out. `fitted` turns a pose so
that every limb of it points where the stance's would. Why: a gait is written once. Source: own derivation: with C_j
the smallest rotation that takes a limb of the body's rest pose into the stance, and p the parent of joint j, the
body's local rotation is C_p^-1 R_j C_j. Trade-off: C comes from the mean shape and from the directions of bones only,
so a body whose rest pose is twisted about a limb keeps that twist, but for its hands; trunk, head and feet stay.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID, PARENTS
from resight.rendering.rotations import changed, matrices, rotation_vectors

__all__ = ["STANCE", "fitted", "from_t_pose", "in_stance"]

_ARM: Final = ((0.34200, -0.93970, 0.0), (0.30503, -0.94808, 0.09001))
_LEG: Final = ((0.04046, -0.99886, 0.02529), (0.02994, -0.99790, -0.05738))

STANCE: Final[dict[str, tuple[str, tuple[float, float, float]]]] = {
    "hip": ("knee", _LEG[0]),
    "knee": ("ankle", _LEG[1]),
    "shoulder": ("elbow", _ARM[0]),
    "elbow": ("wrist", _ARM[1]),
}
"""joint of the left side -> (the joint its bone ends at, where that bone points); on the right side x is negated."""

_T_POSE: Final[dict[str, tuple[float, float, float]]] = {
    "hip": (0.09, -0.996, -0.01),
    "knee": (-0.03, -0.993, -0.11),
    "shoulder": (0.994, -0.06, -0.09),
    "elbow": (0.998, 0.05, -0.03),
}
"""Where the limbs of SMPL's mean body point in its rest pose, rounded; the left side."""

_PALM: Final = 0.5
"""Radians by which a hand may be turned about its forearm before it is turned back."""

_SAME: Final = 1e-3
"""Radians below which a bone is in the stance already."""


@lru_cache(maxsize=8)
def _corrections(body: Body) -> Float[np.ndarray, "24 3 3"] | None:
    """C of every joint, or None for a body that rests in the stance."""
    rest = body.J_regressor.astype(np.float64) @ body.v_template.astype(np.float64)
    turns = np.tile(np.eye(3), (24, 1, 1))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for joint, (end, direction) in STANCE.items():
            bone = rest[JOINT_ID[f"{side}_{end}"]] - rest[JOINT_ID[f"{side}_{joint}"]]
            turns[JOINT_ID[f"{side}_{joint}"]] = _shortest(bone, np.array(direction) * (sign, 1.0, 1.0))
        _with_palms_inwards(body, turns, side, np.array(STANCE["elbow"][1]) * (sign, 1.0, 1.0))
    cosine = (np.trace(turns, axis1=1, axis2=2) - 1) / 2
    return None if cosine.min() > np.cos(_SAME) else turns


def _with_palms_inwards(body: Body, turns: np.ndarray, side: str, forearm: np.ndarray) -> None:
    """Turn the hand about the forearm until the thumb points forwards; the forearm goes half the way."""
    elbow, wrist, hand = (JOINT_ID[f"{side}_{joint}"] for joint in ("elbow", "wrist", "hand"))
    twist = 0.0
    if body.vertex_ids:
        thumb, pinky = (body.vertex_ids[f"{side[0]}{finger}"] for finger in ("thumb", "pinky"))
        across = turns[elbow] @ (body.v_template[thumb] - body.v_template[pinky]).astype(np.float64)
        axis = forearm / np.sqrt(forearm @ forearm)
        across, forwards = (v - (v @ axis) * axis for v in (across, np.array([0.0, 0.0, 1.0])))
        twist = float(np.arctan2(np.cross(across, forwards) @ axis, across @ forwards))
    if abs(twist) < _PALM:
        twist = 0.0
    half, whole = (matrices(share * twist * forearm / np.sqrt(forearm @ forearm)) for share in (0.5, 1.0))
    turns[wrist] = turns[hand] = whole @ turns[elbow]
    turns[elbow] = half @ turns[elbow]


def _shortest(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Rotation that takes direction a into direction b the short way (Moller and Hughes 1999)."""
    a, b = a / np.sqrt(a @ a), b / np.sqrt(b @ b)
    cross, cosine = np.cross(a, b), float(a @ b)
    assert cosine > -0.99, "no body rests with a limb turned right round"
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def fitted(body: Body, pose: Float32[np.ndarray, "24 3"]) -> Float32[np.ndarray, "24 3"]:
    """Return the pose for this body.

    Args:
        body: whose rest pose matters.
        pose: axis-angle rotations against the stance, radians.

    Returns:
        Axis-angle rotations against the body's rest pose; `pose` itself when the body rests in the stance.
    """
    turns = _corrections(body)
    return pose if turns is None else _changed(pose, turns)


def from_t_pose(pose: Float32[np.ndarray, "24 3"]) -> Float32[np.ndarray, "24 3"]:
    """Return a pose that counts from SMPL's rest pose (`posefiles.read_poses`) as one that counts from the stance."""
    turns = np.tile(np.eye(3), (24, 1, 1))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for joint, (_, direction) in STANCE.items():
            spread, stance = (np.array(d) * (sign, 1.0, 1.0) for d in (_T_POSE[joint], direction))
            turns[JOINT_ID[f"{side}_{joint}"]] = _shortest(stance, spread)
        for joint in ("wrist", "hand"):
            turns[JOINT_ID[f"{side}_{joint}"]] = turns[JOINT_ID[f"{side}_elbow"]]
    return _changed(pose, turns)


def _changed(pose: Float32[np.ndarray, "24 3"], turns: np.ndarray) -> Float32[np.ndarray, "24 3"]:
    return rotation_vectors(changed(matrices(pose), turns, np.array(PARENTS)))


def in_stance(body: Body) -> Float32[np.ndarray, "24 3"]:
    """Return the pose that puts a body into the stance; zeros for one that rests in it."""
    return fitted(body, np.zeros((24, 3), np.float32))
