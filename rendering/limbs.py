"""Parts and limb coordinates of any skinned body, from its weights and the joints of its rest pose alone.

What: `Fields` holds, for every vertex, how much it belongs to each limb and how far along the limb it lies; from them
come the lines where parts meet, the part of each face and `along`. Why: sleeves, hems, necklines and shoes are cuts
along limbs (`parts.LIMBS`), so a body that knows its limbs can be dressed, whoever modelled it. Source: own.
Trade-off: landmarks are those of the capsule body, carried over by the joints; a body with very short bones in the
trunk has its hem a little high or low.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID, LIMBS, PART_ID

__all__ = ["Fields", "along_of", "fields", "limb_of_faces", "lines", "part_of_faces"]

_ARM: Final = ("shoulder", "elbow", "wrist", "hand")
_LEG: Final = ("hip", "knee", "ankle", "foot")

ANKLE: Final = 0.955
"""Where the shoe begins, along the leg."""

_NECK_TILT: Final = 0.55
"""Metres by which a neckline falls for each metre it comes forward."""

_NOSE: Final = 0.571
"""The tip of the nose, from crown to chin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """Quantities at vertices, all of which vary smoothly over the skin.

    Attributes:
        arm: (V, 2) share of the left and the right arm in the weights.
        leg: (V, 2) the same of the legs.
        arm_along: (V, 2) place on the left and the right arm, 0 to 1.
        leg_along: (V, 2) place on the left and the right leg, 0 at the hip, 1 at the ankle, more below.
        foot_along: (V, 2) place on the foot, 0 to 1.
        trunk_along: (V,) place on the trunk, 0 to 1.
        head_along: (V,) place on the head, 0 to 1.
        collar: (V,) metres above the neckline.
        head: (V,) share of the head in the weights.
    """

    arm: Float[np.ndarray, "v 2"]
    leg: Float[np.ndarray, "v 2"]
    arm_along: Float[np.ndarray, "v 2"]
    leg_along: Float[np.ndarray, "v 2"]
    foot_along: Float[np.ndarray, "v 2"]
    trunk_along: Float[np.ndarray, "v"]
    head_along: Float[np.ndarray, "v"]
    collar: Float[np.ndarray, "v"]
    head: Float[np.ndarray, "v"]


def fields(body: Body) -> Fields:
    """Compute the quantities in the rest pose of the mean shape."""
    at, weights = body.v_template.astype(np.float64), body.weights.astype(np.float64)
    joints = dict(zip(JOINT_ID, body.J_regressor.astype(np.float64) @ at, strict=True))
    share = {name: weights[:, number] for name, number in JOINT_ID.items()}
    arm, leg, arm_along, leg_along, foot_along = [], [], [], [], []
    for side in ("left", "right"):
        arm.append(np.sum([share[f"{side}_{joint}"] for joint in _ARM], axis=0))
        leg.append(np.sum([share[f"{side}_{joint}"] for joint in _LEG], axis=0))
        arm_along.append(_arm_along(at, joints, side, arm[-1]))
        leg_along.append(_leg_along(at, joints, side))
        foot_along.append(_foot_along(at, joints, side, share[f"{side}_ankle"] + share[f"{side}_foot"]))
    return Fields(
        arm=np.stack(arm, 1), leg=np.stack(leg, 1), arm_along=np.stack(arm_along, 1), leg_along=np.stack(leg_along, 1),
        foot_along=np.stack(foot_along, 1), trunk_along=_trunk_along(at, joints, share),
        head_along=_head_along(at, share), collar=_collar(at, joints), head=share["head"],
    )  # fmt: skip


def _place(at: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Share of the way from start to end, unbounded."""
    axis = end - start
    return (at - start) @ axis / max(float(axis @ axis), 1e-12)


def _arm_along(at: np.ndarray, joints: dict[str, np.ndarray], side: str, mine: np.ndarray) -> np.ndarray:
    shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
    forward = joints[f"{side}_hand"] - wrist
    forward = forward / np.sqrt(forward @ forward)
    tip = wrist + forward * float(((at[mine > 0.9] - wrist) @ forward).max())
    marks = LIMBS["arm"]
    upper = marks["elbow"] * _place(at, shoulder, elbow)
    lower = marks["elbow"] + (marks["wrist"] - marks["elbow"]) * _place(at, elbow, wrist)
    hand = marks["wrist"] + (1 - marks["wrist"]) * _place(at, wrist, tip)
    return np.clip(_chain(_chain(upper, lower, marks["elbow"]), hand, marks["wrist"]), 0.0, 1.0)


def _chain(near: np.ndarray, far: np.ndarray, joint: float) -> np.ndarray:
    """Go from one bone's coordinate to the next bone's where their mean passes the joint: continuous everywhere."""
    turn = np.clip(((near + far) / 2 - joint) / 0.08 + 0.5, 0.0, 1.0)
    return near + (far - near) * turn


def _leg_along(at: np.ndarray, joints: dict[str, np.ndarray], side: str) -> np.ndarray:
    hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    return np.maximum(_chain(0.5 * _place(at, hip, knee), 0.5 + 0.5 * _place(at, knee, ankle), 0.5), 0.0)


def _foot_along(at: np.ndarray, joints: dict[str, np.ndarray], side: str, mine: np.ndarray) -> np.ndarray:
    axis = (joints[f"{side}_foot"] - joints[f"{side}_ankle"]) * (1.0, 0.0, 1.0)
    axis = axis / np.sqrt(axis @ axis)
    place = at @ axis
    low, high = place[mine > 0.5].min(), place[mine > 0.5].max()
    return np.clip((place - low) / (high - low), 0.0, 1.0)


def _trunk_along(at: np.ndarray, joints: dict[str, np.ndarray], share: dict[str, np.ndarray]) -> np.ndarray:
    """By height between landmarks; the crotch is the lowest skin of the middle of the body."""
    middle = (np.abs(at[:, 0]) < 0.012) & (at[:, 1] < joints["pelvis"][1])
    crotch = at[middle, 1].min() if middle.any() else joints["left_hip"][1] - 0.09
    shoulder, neck, head = joints["left_shoulder"][1], joints["neck"][1], joints["head"][1]
    waist = joints["pelvis"][1] + 0.22 * (neck - joints["pelvis"][1])
    heights = np.array([crotch, waist, min(shoulder, neck - 0.02), neck + 0.01, head + 0.04])
    marks = LIMBS["trunk"]
    return np.interp(at[:, 1], heights, [marks[name] for name in ("crotch", "waist", "shoulder", "neck", "chin")])


def _head_along(at: np.ndarray, share: dict[str, np.ndarray]) -> np.ndarray:
    skull = at[share["head"] > 0.5]
    crown, nose = skull[:, 1].max(), skull[skull[:, 2].argmax(), 1]
    return np.clip(_NOSE * (crown - at[:, 1]) / (crown - nose), 0.0, 1.0)


def _collar(at: np.ndarray, joints: dict[str, np.ndarray]) -> np.ndarray:
    neck = joints["neck"]
    return at[:, 1] - neck[1] - 0.012 + _NECK_TILT * (at[:, 2] - neck[2])


def lines(field: Fields, at: Float[np.ndarray, "v 3"]) -> dict[str, Float[np.ndarray, "v"]]:
    """Return the quantities whose zeros are the lines where parts meet."""
    own = np.where(at[:, 0] > 0, field.leg_along[:, 0], field.leg_along[:, 1])
    legs = field.leg.max(axis=1) > 0.5
    return {
        "left armhole": field.arm[:, 0] - 0.5,
        "right armhole": field.arm[:, 1] - 0.5,
        "left groin": field.leg[:, 0] - 0.5,
        "right groin": field.leg[:, 1] - 0.5,
        "ankles": np.where(legs, own - ANKLE, -1.0),
        "neckline": np.where(field.arm.max(axis=1) < 0.9, field.collar, -1.0),
        "chin": field.head - 0.5,
    }


def limb_of_faces(field: Fields, faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "f"]:
    """Return 0 trunk and head, 1 and 2 arms, 3 and 4 legs, left before right."""
    shares = np.concatenate([field.arm, field.leg], axis=1)[faces].mean(axis=1)
    return np.where(shares.max(axis=1) > 0.5, 1 + shares.argmax(axis=1), 0)


def part_of_faces(field: Fields, faces: Int[np.ndarray, "f 3"], limb: Int[np.ndarray, "f"]) -> UInt8[np.ndarray, "f"]:
    """Name each face by limb and place on it."""
    middle = {name: getattr(field, name)[faces].mean(axis=1) for name in ("arm_along", "leg_along", "trunk_along")}
    out = np.where(middle["trunk_along"] < 0.69, PART_ID["torso"], PART_ID["hips"])
    out[field.collar[faces].mean(axis=1) > 0] = PART_ID["neck"]
    out[field.head[faces].mean(axis=1) > 0.5] = PART_ID["head"]
    marks = LIMBS["arm"]
    for column, side in enumerate(("left", "right")):
        place = middle["arm_along"][:, column]
        steps = [f"{side}_{part}" for part in ("upper_arm", "forearm", "hand")]
        arm = np.array([PART_ID[step] for step in steps])[np.digitize(place, [marks["elbow"], marks["wrist"]])]
        out = np.where(limb == 1 + column, arm, out)
        steps = [f"{side}_{part}" for part in ("thigh", "shin", "foot")]
        leg = np.array([PART_ID[s] for s in steps])[np.digitize(middle["leg_along"][:, column], [0.5, ANKLE])]
        out = np.where(limb == 3 + column, leg, out)
    return out.astype(np.uint8)


def along_of(field: Fields, vertices: Int[np.ndarray, "n"], limb: int, *, foot: bool = False) -> Float[np.ndarray, "n"]:
    """Return `along` of some vertices as members of a limb (`limb_of_faces`)."""
    if limb == 0:
        return np.where(field.head[vertices] >= 0.499, field.head_along[vertices], field.trunk_along[vertices])
    side = (limb - 1) % 2
    if limb < 3:
        return field.arm_along[vertices, side]
    return field.foot_along[vertices, side] if foot else np.minimum(field.leg_along[vertices, side], 1.0)
