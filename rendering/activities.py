"""Sitting, reaching and carrying: still poses beside the gait of `poses`, against the same stance.

Source: own; angles within the ranges of motion of healthy adults (American Academy of Orthopaedic Surgeons: hip
flexion 120 degrees, knee 135, shoulder flexion 180, elbow 150). Trade-off: nothing is grasped or sat on; the scene
has to put a seat or a bag where hands and hips are.
"""

from math import pi
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32

from resight.rendering.parts import JOINT_ID
from resight.rendering.poses import Gait, standing, walking
from resight.rendering.rotations import matrices, rotation_vectors

__all__ = ["carrying", "reaching", "sitting"]

Side = Literal["left", "right"]


def sitting(
    gait: Gait | None = None, *, heading: float = 0.0, recline: float = 0.1, spread: float = 0.12, feet: float = 0.0
) -> Float32[np.ndarray, "24 3"]:
    """Return the rotations of somebody on a seat, hands on the thighs; axis-angle, radians.

    Args:
        gait: the manner; elbow, turnout and head matter.
        heading: turn of the whole body about y.
        recline: of the trunk, backwards positive, -0.3 to 0.5.
        spread: of each thigh from straight ahead, -0.1 to 0.5.
        feet: how far the shins lean: positive with the feet under the seat, -0.5 to 0.5.
    """
    gait = gait or Gait()
    pose = _upright(gait, heading)
    _turn(pose, "pelvis", (-recline, 0.0, 0.0))
    for joint, share in (("spine1", 0.25), ("spine2", 0.3), ("spine3", 0.2)):
        _turn(pose, joint, (share * 0.4, 0.0, 0.0))
    for side, sign in _SIDES:
        _set(pose, f"{side}_hip", (-pi / 2 + recline + 0.05, 0.0, 0.0), (0.0, sign * spread, 0.0))
        _set(pose, f"{side}_knee", (pi / 2 - 0.05 + feet, 0.0, 0.0))
        _set(pose, f"{side}_ankle", (-feet, 0.0, 0.0))
        _set(pose, f"{side}_shoulder", (-0.42, 0.0, 0.0), (0.0, 0.0, -sign * 0.30))
        _set(pose, f"{side}_elbow", (-0.95 - 0.3 * gait.elbow, -sign * 0.25, 0.0))
    return rotation_vectors(pose)


def reaching(
    gait: Gait | None = None, *, heading: float = 0.0, side: Side = "right", height: float = 2.2, out: float = 0.2
) -> Float32[np.ndarray, "24 3"]:
    """Return the rotations of somebody who stretches an arm; axis-angle, radians.

    Args:
        gait: the manner.
        heading: turn of the whole body about y.
        side: of the arm.
        height: angle of the upper arm from hanging, forwards and up, 0.5 to 2.7.
        out: how far the arm points outwards, -0.2 to 0.9.
    """
    gait = gait or Gait()
    pose = matrices(standing(gait, heading=heading, shift=-0.5 if side == "right" else 0.5))
    sign = 1.0 if side == "left" else -1.0
    lift = max(0.0, height - 0.9) * 0.25  # the shoulder blade takes its share, as in the living
    _set(pose, f"{side}_collar", (-0.2 * lift, 0.0, sign * lift))
    hang = (0.0, 0.0, -sign * 0.30)
    _set(pose, f"{side}_shoulder", (0.0, sign * out, 0.0), (-(height - 0.6 * lift), 0.0, 0.0), hang)
    _set(pose, f"{side}_elbow", (-0.25, 0.0, 0.0))
    _turn(pose, "spine2", (0.0, 0.0, -sign * 0.05 * height))
    _turn(pose, "head", (-0.15 * max(0.0, height - 1.0), sign * 0.15, 0.0))
    return rotation_vectors(pose)


def carrying(
    phase: float, gait: Gait | None = None, *, heading: float = 0.0, what: Literal["box", "bag"] = "box"
) -> Float32[np.ndarray, "24 3"]:
    """Return the rotations of a walker who holds something; axis-angle, radians.

    Args:
        phase: of the gait cycle, in turns (`poses.walking`).
        gait: the manner.
        heading: turn of the whole body about y.
        what: a box before the belly in both hands, or a bag in the right hand, whose arm then hangs still.
    """
    gait = gait or Gait()
    pose = matrices(walking(phase, gait, heading=heading))
    if what == "bag":
        _set(pose, "right_shoulder", (0.02, 0.0, 0.0), (0.0, 0.0, 0.20))
        _set(pose, "right_elbow", (-0.12, 0.0, 0.0))
        _turn(pose, "spine1", (0.0, 0.0, 0.06))
        return rotation_vectors(pose)
    for side, sign in _SIDES:
        _set(pose, f"{side}_shoulder", (-0.25, 0.0, 0.0), (0.0, 0.0, -sign * 0.20))
        _set(pose, f"{side}_elbow", (-1.35, -sign * 0.35, 0.0))
    _turn(pose, "spine1", (-0.08, 0.0, 0.0))
    return rotation_vectors(pose)


_SIDES: Final = (("left", 1.0), ("right", -1.0))


def _upright(gait: Gait, heading: float) -> np.ndarray:
    return matrices(standing(gait, heading=heading))


def _set(pose: np.ndarray, joint: str, *turns: tuple[float, float, float]) -> None:
    """Set a joint to a product of axis-angle turns, the last applied first."""
    pose[JOINT_ID[joint]] = _product(turns)


def _turn(pose: np.ndarray, joint: str, turn: tuple[float, float, float]) -> None:
    """Add a turn in the joint's own frame."""
    pose[JOINT_ID[joint]] = pose[JOINT_ID[joint]] @ _product((turn,))


def _product(turns: tuple[tuple[float, float, float], ...]) -> np.ndarray:
    out = np.eye(3)
    for turn in turns:
        out = out @ matrices(np.array(turn))
    return out
