"""Bags, where people carry them: on the back, at the hip under a belt across the chest, in the hand.

What: `bag_solids` sets the bag of an outfit down against the posed body; `belt` cuts its straps out of the trunk's
surface. Why: a bag is what a detector's box shows and what witnesses remember, and it must move with the body and
touch it. Source: design of this project. Trade-off: bags neither swing nor give way.
"""

from typing import Final

import numpy as np
from jaxtyping import Float32, Float64

from resight.rendering.appearance import Appearance, Wear, dress
from resight.rendering.body import Body
from resight.rendering.dressing import cloth
from resight.rendering.outfits import Bag
from resight.rendering.parts import JOINT_ID, PARENTS, PART_ID, PARTS
from resight.rendering.solids import Solid, place
from resight.rendering.strips import Strip, cross_belt, shoulder_straps

__all__ = ["bag_solids", "belt", "joint_turns"]

_SUNK: Final = 0.02
"""Metres by which a bag sits in the cloth that it lies against."""

_GRIP: Final = 0.1
"""Metres from the hand joint down to the top of a handbag; its handle fills the gap."""


def joint_turns(pose: Float32[np.ndarray, "24 3"]) -> Float64[np.ndarray, "24 3 3"]:
    """Return every joint's turn from the rest pose to the world."""
    turns = np.empty((24, 3, 3))
    for joint, vector in enumerate(pose.astype(np.float64)):
        own = _rotation(vector)
        turns[joint] = own if joint == 0 else turns[PARENTS[joint]] @ own
    return turns


def _rotation(vector: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    angle = float(np.sqrt(vector @ vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = (vector / angle).tolist()
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def bag_solids(
    body: Body,
    bag: Bag,
    *,
    vertices: Float32[np.ndarray, "v 3"],
    joints: Float32[np.ndarray, "24 3"],
    pose: Float32[np.ndarray, "24 3"],
    fit: float,
) -> list[Solid]:
    """Return the bag, with its handle where it has one.

    Args:
        body: for its parts.
        bag: of the outfit.
        vertices: posed, metres in the world.
        joints: posed, metres in the world.
        pose: axis-angle rotations, radians.
        fit: how far the cloth under it stands off, metres.
    """
    if bag.kind == "handbag":
        return _in_hand(bag, joints, pose)
    joint = "spine2" if bag.kind == "backpack" else "pelvis"
    turn = joint_turns(pose)[JOINT_ID[joint]]
    local = (vertices.astype(np.float64) - joints[JOINT_ID[joint]]) @ turn
    trunk = np.unique(body.f[np.isin(body.face_part, (PART_ID["torso"], PART_ID["hips"]))])
    width, height, depth = bag.size
    if bag.kind == "backpack":
        up = (joints[JOINT_ID["neck"]].astype(np.float64) - joints[JOINT_ID["spine2"]]) @ turn
        middle = float(up[1]) - 0.04 - height / 2
        near = local[trunk][np.abs(local[trunk, 1] - middle) < height / 2]
        at = np.array([0.0, middle, near[:, 2].min() - fit + _SUNK - depth / 2])
        size = bag.size
    else:
        thighs = np.unique(body.f[np.isin(body.face_part, (PART_ID["left_thigh"], PART_ID["right_thigh"]))])
        near = local[np.concatenate([trunk, thighs])]
        near = near[np.abs(near[:, 1] + 0.03) < height / 2]
        side = float((near[:, 0] * bag.side).max()) + fit - _SUNK + depth / 2
        at, size = np.array([side * bag.side, -0.03, -0.02]), (depth, height, width)
    centre = joints[JOINT_ID[joint]] + turn @ at
    part = "torso" if bag.kind == "backpack" else "hips"
    return [place("cushion", centre=centre, size=size, turn=turn, look=cloth(bag.cloth), part=part)]


def _in_hand(bag: Bag, joints: np.ndarray, pose: np.ndarray) -> list[Solid]:
    """Hang it straight down from the hand, broad side along the way the person faces."""
    side = "left" if bag.side > 0 else "right"
    forward = joint_turns(pose)[0] @ np.array([0.0, 0.0, 1.0])
    heading = np.arctan2(forward[0], forward[2])
    turn = np.array([[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]])
    width, height, depth = bag.size
    hand, look = joints[JOINT_ID[f"{side}_hand"]].astype(np.float64), cloth(bag.cloth)
    down = np.array([0.0, 1.0, 0.0])
    centre = hand - (_GRIP + height / 2) * down
    parts = [place("cushion", centre=centre, size=(depth, height, width), turn=turn, look=look, part=f"{side}_hand")]
    for end in (-0.3, 0.3):  # the handle: two straps from the hand to the rim
        rim = centre + turn @ np.array([0, 0.46 * height, end * width])
        way = hand - rim
        length = float(np.sqrt(way @ way))
        strap = _upright(way / length)
        parts.append(
            place(
                "post",
                centre=(hand + rim) / 2,
                size=(0.018, length, 0.018),
                turn=strap,
                look=look,
                part=f"{side}_hand",
            )
        )
    return parts


def _upright(way: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Return a turn that takes +y to `way`."""
    first = np.cross(way, [0.0, 0.0, 1.0] if abs(way[2]) < 0.9 else [1.0, 0.0, 0.0])
    first /= np.sqrt(first @ first)
    return np.stack([first, way, np.cross(first, way)], axis=1)


def belt(body: Body, bag: Bag, fit: float) -> tuple[Strip, Appearance] | None:
    """Return the strips of the trunk that the bag's straps cover, and what they look like; None without straps."""
    if bag.kind == "handbag":
        return None
    look = cloth(bag.cloth)
    strap = Wear(upper=look, inflation=fit + 0.008)
    strips = shoulder_straps(body) if bag.kind == "backpack" else cross_belt(body, bag.side)
    return strips, dress(dict.fromkeys(PARTS, strap))
