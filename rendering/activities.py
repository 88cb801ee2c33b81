"""What people do beside walking and standing: sitting, reaching up, carrying a box before them.

What: `pose_for(activity, ...)` gives the joints' turns of one moment. Why: a model that knows people only on their feet
must meet them otherwise, and joints must be where bodies really bend. Source: ranges by eye from the textbook ranges of
joint motion (Kapandji 1974); walking and standing are `poses`. Trade-off: a handful of variations and no motion.
"""

from math import cos, sin
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID
from resight.rendering.poses import Gait, standing, walking
from resight.rendering.splits import Activity

__all__ = ["pose_for", "rest_arm"]

_SIDES: Final = (("left", 1.0), ("right", -1.0))


def rest_arm(body: Body) -> float:
    """Return the angle of the body's upper arms from the vertical in its rest pose, radians."""
    joints = body.J_regressor.astype(np.float64) @ body.v_template.astype(np.float64)
    across, _, down = (joints[JOINT_ID["left_elbow"]] - joints[JOINT_ID["left_shoulder"]])[[0, 2, 1]]
    return round(float(np.arctan2(across, -down)), 3)


def pose_for(
    activity: Activity,
    gait: Gait,
    *,
    heading: float,
    phase: float,
    stands: bool,
    ways: Float[np.ndarray, "4"],
    arm: float,
) -> Float32[np.ndarray, "24 3"]:
    """Return axis-angle rotations, radians, of one moment.

    Args:
        activity: what the person does.
        gait: how this person holds itself.
        heading: turn of the whole body about y, radians; 0 looks along +z.
        phase: of the step, or the weight on one leg, in [0, 1).
        stands: whether a person who may move stands.
        ways: uniform in [0, 1): variations of what is done.
        arm: angle of the body's upper arms in its rest pose (`rest_arm`).
    """
    if activity == "moving" and not stands:
        return walking(phase, gait, heading=heading, rest_arm=arm)
    pose = standing(gait, heading=heading, shift=2 * phase - 1, rest_arm=arm)
    if activity == "sitting":
        _sit(pose, gait, heading, ways, arm)
    elif activity == "reaching":
        _reach(pose, ways, arm)
    elif activity == "carrying":
        pose = pose if stands else walking(phase, gait, heading=heading, rest_arm=arm)
        _carry(pose, ways, arm)
    return pose


def _sit(pose: np.ndarray, gait: Gait, heading: float, ways: np.ndarray, arm: float) -> None:
    """Thighs level, shins down, hands on the knees or in the lap."""
    lean = -0.12 + 0.4 * ways[0]
    pose[JOINT_ID["pelvis"]] = (0.0, heading, 0.0)
    pose[JOINT_ID["spine1"]] = (0.5 * lean, 0.0, 0.0)
    pose[JOINT_ID["spine2"]] = (0.5 * lean, 0.0, 0.0)
    for side, sign in _SIDES:
        spread, knee = 0.06 + 0.2 * ways[1], 1.45 + 0.3 * (ways[2] - 0.5)
        pose[JOINT_ID[f"{side}_hip"]] = _turn((-1.5, 0, 0), (0, sign * spread, 0))
        pose[JOINT_ID[f"{side}_knee"]] = (knee, 0.0, 0.0)
        pose[JOINT_ID[f"{side}_ankle"]] = (1.5 - knee, 0.0, 0.0)
        bend = 0.55 + 0.5 * ways[3]
        pose[JOINT_ID[f"{side}_shoulder"]] = _turn((-0.45 - lean, 0, 0), (0, 0, sign * (0.12 - arm)))
        pose[JOINT_ID[f"{side}_elbow"]] = _turn((-bend, 0, 0), (0, -0.3 * sign, 0))


def _reach(pose: np.ndarray, ways: np.ndarray, arm: float) -> None:
    """One arm, now and then both, up and forward; the trunk follows."""
    both, first = ways[0] < 0.3, "left" if ways[1] < 0.5 else "right"
    lift = 1.5 + 1.2 * ways[2]
    for side, sign in _SIDES:
        if both or side == first:
            pose[JOINT_ID[f"{side}_shoulder"]] = _turn((-lift, 0, 0), (0, 0, sign * (0.1 - arm)))
            pose[JOINT_ID[f"{side}_elbow"]] = (-0.15 - 0.4 * ways[3], 0.0, 0.0)
            pose[JOINT_ID["spine3"]] = (-0.08, 0.0, 0.0 if both else -sign * 0.12)


def _carry(pose: np.ndarray, ways: np.ndarray, arm: float) -> None:
    """Both forearms level before the body."""
    for side, sign in _SIDES:
        pose[JOINT_ID[f"{side}_shoulder"]] = _turn((-0.25 - 0.3 * ways[0], 0, 0), (0, 0, sign * (0.14 - arm)))
        pose[JOINT_ID[f"{side}_elbow"]] = _turn((-1.15 - 0.25 * ways[1], 0, 0), (0, -0.12 * sign, 0))


def _turn(second: tuple[float, float, float], first: tuple[float, float, float]) -> np.ndarray:
    """Return the axis-angle of one turn about an axis after another."""
    matrix = _matrix(second) @ _matrix(first)
    angle = np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    return axis * (angle / max(2 * np.sin(angle), 1e-9))


def _matrix(vector: tuple[float, float, float]) -> np.ndarray:
    """Return the turn about one of the axes."""
    axis = int(np.argmax(np.abs(vector)))
    c, s, (i, j) = cos(vector[axis]), sin(vector[axis]), ((1, 2), (2, 0), (0, 1))[axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix
