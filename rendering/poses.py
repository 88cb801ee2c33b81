"""Standing and walking, analytically: joint rotations from a phase and a handful of gait parameters.

Source: curves fitted by eye to the textbook kinematics of level walking (Winter 1991; Perry 1992): hip 30 deg of
flexion to 10 of extension, knee with a small bump when the leg is loaded and a large one in swing, ankle rocking and
pushing off, pelvis and shoulders turning against each other, arms opposite to legs. No motion capture, no licence.
Trade-off: the gait is periodic and symmetric; an identity differs by `Gait`, not by its own curves.
"""

from dataclasses import dataclass
from math import cos, exp, pi, sin

import numpy as np
from jaxtyping import Float32

from resight.rendering.parts import JOINT_ID
from resight.rendering.rotations import euler, product, rotation_vectors

__all__ = ["Gait", "standing", "walking"]


@dataclass(frozen=True, kw_only=True)
class Gait:
    """How somebody walks. Everything an identity keeps between frames.

    Attributes:
        speed: metres a second, 0.6 to 2; a faster walk swings wider.
        stride: factor on the swing of the legs, about 0.8 to 1.2.
        arm_swing: factor on the swing of the arms, 0 (hands in pockets) to 1.6.
        sway: factor on the roll and turn of pelvis and chest, 0 to 2.
        lean: of the trunk, radians, forwards positive.
        elbow: mean bend of the elbows, radians.
        turnout: of the feet and knees, radians, outwards positive.
        arm_gap: how far the arms hang off the body, radians from the vertical.
        head: pitch of the head, radians, looking down positive.
    """

    speed: float = 1.3
    stride: float = 1.0
    arm_swing: float = 1.0
    sway: float = 1.0
    lean: float = 0.03
    elbow: float = 0.30
    turnout: float = 0.06
    arm_gap: float = 0.16
    head: float = 0.05


_REST_ARM = 0.349
"""Angle of the upper arms from the vertical in the stance that poses count from (`stance.py`), radians."""


def walking(phase: float, gait: Gait | None = None, *, heading: float = 0.0) -> Float32[np.ndarray, "24 3"]:
    """Return axis-angle rotations, radians, of one moment of a walk.

    Args:
        phase: of the gait cycle, in turns; 0 is the left heel's strike, 0.5 the right one's.
        gait: the walker's manner.
        heading: turn of the whole body about y, radians; 0 looks along +z.
    """
    gait = gait or Gait()
    reach = gait.stride * (0.55 + 0.45 * gait.speed / 1.3)
    pose = np.tile(np.eye(3), (24, 1, 1))
    turn = 2 * pi * phase
    twist = 0.09 * gait.sway * reach * cos(turn)
    list_ = 0.06 * gait.sway * sin(turn)
    _turn(pose, "pelvis", product(euler(0.0, heading, 0.0), euler(gait.lean * 0.3, -twist, list_)))
    _turn(pose, "spine1", euler(gait.lean * 0.4, 0.7 * twist, -0.6 * list_))
    _turn(pose, "spine2", euler(gait.lean * 0.3, 0.7 * twist, -0.4 * list_))
    _turn(pose, "spine3", euler(0.0, 0.6 * twist, 0.0))
    _turn(pose, "neck", euler(gait.head - gait.lean * 0.5, -0.5 * twist, 0.0))
    for side, sign, start in (("left", 1.0, phase), ("right", -1.0, phase + 0.5)):
        _leg(pose, side, sign, start % 1.0, reach, gait, list_)
        _arm(pose, side, sign, start + 0.5, reach, gait)
    return rotation_vectors(pose)


def standing(gait: Gait | None = None, *, heading: float = 0.0, shift: float = 0.0) -> Float32[np.ndarray, "24 3"]:
    """Return axis-angle rotations, radians, of somebody who stands.

    Args:
        gait: the manner; lean, elbow, turnout, arm_gap and head matter.
        heading: turn of the whole body about y, radians; 0 looks along +z.
        shift: weight on the left (+1) or right (-1) leg: the hip drops, the other knee bends.
    """
    gait = gait or Gait()
    pose = _upright(gait, heading=heading)
    roll = 0.07 * shift
    _turn(pose, "pelvis", product(euler(0.0, heading, 0.0), euler(gait.lean * 0.3, 0.0, roll)))
    _turn(pose, "spine1", euler(gait.lean * 0.7, 0.0, -roll))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        slack = max(0.0, -sign * shift)
        _turn(pose, f"{side}_hip", euler(-0.25 * slack, sign * gait.turnout, -roll))
        _turn(pose, f"{side}_knee", euler(0.45 * slack, 0.0, 0.0))
        _turn(pose, f"{side}_ankle", euler(-0.20 * slack, 0.0, 0.0))
    return rotation_vectors(pose)


def _upright(gait: Gait, *, heading: float) -> np.ndarray:
    """Stand with the arms down: (24, 3, 3) rotations."""
    pose = np.tile(np.eye(3), (24, 1, 1))
    _turn(pose, "pelvis", euler(0.0, heading, 0.0))
    _turn(pose, "neck", euler(gait.head - gait.lean * 0.5, 0.0, 0.0))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _turn(pose, f"{side}_shoulder", euler(0.06, 0.0, sign * (gait.arm_gap - _REST_ARM)))
        _turn(pose, f"{side}_elbow", euler(-gait.elbow, 0.0, 0.0))
    return pose


def _leg(pose: np.ndarray, side: str, sign: float, phase: float, reach: float, gait: Gait, list_: float) -> None:
    hip = reach * (0.17 + 0.36 * cos(2 * pi * phase) - 0.03 * cos(4 * pi * phase))
    knee = 0.06 + 0.24 * reach * _bump(phase, 0.13, 0.08) + 1.02 * reach**0.5 * _bump(phase, 0.72, 0.105)
    ankle = 0.16 * _bump(phase, 0.42, 0.12) - 0.34 * reach * _bump(phase, 0.63, 0.07) - 0.06 * _bump(phase, 0.06, 0.05)
    toe = 0.42 * reach * _bump(phase, 0.58, 0.06)
    _turn(pose, f"{side}_hip", euler(-hip, sign * gait.turnout, -list_ - sign * 0.02))
    _turn(pose, f"{side}_knee", euler(knee, 0.0, 0.0))
    _turn(pose, f"{side}_ankle", euler(-ankle, 0.0, 0.0))
    _turn(pose, f"{side}_foot", euler(-toe, 0.0, 0.0))


def _arm(pose: np.ndarray, side: str, sign: float, phase: float, reach: float, gait: Gait) -> None:
    swing = gait.arm_swing * reach * (0.05 + 0.31 * cos(2 * pi * phase))
    bend = gait.elbow + gait.arm_swing * reach * 0.16 * (1 + cos(2 * pi * (phase - 0.06)))
    hang = euler(0.0, 0.0, sign * (gait.arm_gap - _REST_ARM))
    _turn(pose, f"{side}_shoulder", product(euler(-swing, sign * 0.10, 0.0), hang))
    _turn(pose, f"{side}_elbow", euler(-bend, 0.0, -sign * 0.05))


def _bump(phase: float, centre: float, width: float) -> float:
    """A bell on the circle of phases."""
    distance = abs(phase - centre) % 1.0
    return exp(-((min(distance, 1.0 - distance) / width) ** 2))


def _turn(pose: np.ndarray, joint: str, rotation: np.ndarray) -> None:
    pose[JOINT_ID[joint]] = rotation
