"""Names: the body's parts, SMPL's joints, and where COCO's key points come from.

Part ids are 1-based so that 0 can mean "no body here" in a part map. A *limb* is a chain of parts with one running
coordinate `along`: an outfit sets one sleeve length for upper arm and forearm, not two. Joint names and parents are
those of SMPL (Loper et al. 2015).
Trade-off: parts are few (17) and anatomical; a garment is a choice of parts plus a cut, never a part of its own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8

__all__ = [
    "JOINTS", "JOINT_ID", "KEYPOINT_SOURCES", "LIMBS", "NUM_PARTS", "PARENTS", "PARTS", "PART_ID", "VERTEX_NAMES",
    "KeypointSource", "along_from_skeleton", "parts_from_weights",
]  # fmt: skip

PARTS: Final = (
    "head", "hair", "neck", "torso", "hips", "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm",
    "left_hand", "right_hand", "left_thigh", "right_thigh", "left_shin", "right_shin", "left_foot", "right_foot",
)  # fmt: skip
"""Part names; the id of `PARTS[i]` is i + 1, and 0 is the background."""

NUM_PARTS: Final = len(PARTS)
PART_ID: Final = {name: number for number, name in enumerate(PARTS, start=1)}

LIMBS: Final[dict[str, dict[str, float]]] = {
    "arm": {"shoulder": 0.0, "elbow": 0.4, "wrist": 0.8, "tip": 1.0},
    "leg": {"hip": 0.0, "knee": 0.5, "ankle": 1.0},
    "foot": {"heel": 0.0, "toe": 1.0},
    "trunk": {"chin": 0.0, "neck": 0.1, "shoulder": 0.2, "waist": 0.62, "crotch": 1.0},
    "head": {"crown": 0.0, "chin": 1.0},
    "hair": {"crown": 0.0, "nape": 0.45, "shoulder": 0.75, "tip": 1.0},
}
"""Landmarks of `along` on each limb, 0 at its proximal end and 1 at its distal end. The leg covers thigh and shin, the
arm covers upper arm, forearm and hand, the trunk covers neck, torso and hips."""

JOINTS: Final = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
JOINT_ID: Final = {name: number for number, name in enumerate(JOINTS)}

PARENTS: Final = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
"""Parent of each joint; the root's is -1, and a parent always comes before its children."""

VERTEX_NAMES: Final = (
    "nose", "reye", "leye", "rear", "lear", "rthumb", "rindex", "rmiddle", "rring", "rpinky", "lthumb", "lindex",
    "lmiddle", "lring", "lpinky", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip
"""The 21 named vertices that loaders of SMPL files pick as extra joints."""


@dataclass(frozen=True, kw_only=True)
class KeypointSource:
    """Where one COCO key point sits on the body, and what counts as seeing it.

    Attributes:
        joint: joint it is, or "" when it is a vertex.
        vertex: named vertex it is, or "".
        parts: ids of the parts whose surface may lie in front of it while it still counts as seen.
        reach: metres from the point to that surface, at most.
    """

    joint: str = ""
    vertex: str = ""
    parts: tuple[int, ...]
    reach: float


def _vertex(name: str, reach: float) -> KeypointSource:
    return KeypointSource(vertex=name, parts=(PART_ID["head"], PART_ID["hair"]), reach=reach)


def _joint(name: str, reach: float, *parts: str) -> KeypointSource:
    return KeypointSource(joint=name, parts=tuple(PART_ID[part] for part in parts), reach=reach)


def _pair(joint: str, reach: float, *parts: str, shared: tuple[str, ...] = ()) -> dict[str, KeypointSource]:
    return {
        f"{side}_{joint}": _joint(f"{side}_{joint}", reach, *(f"{side}_{part}" for part in parts), *shared)
        for side in ("left", "right")
    }


KEYPOINT_SOURCES: Final[dict[str, KeypointSource]] = {
    "nose": _vertex("nose", 0.05),
    "left_eye": _vertex("leye", 0.05),
    "right_eye": _vertex("reye", 0.05),
    "left_ear": _vertex("lear", 0.08),
    "right_ear": _vertex("rear", 0.08),
    **_pair("shoulder", 0.15, "upper_arm", shared=("torso",)),
    **_pair("elbow", 0.10, "upper_arm", "forearm"),
    **_pair("wrist", 0.08, "forearm", "hand"),
    **_pair("hip", 0.18, "thigh", shared=("hips", "torso")),
    **_pair("knee", 0.12, "thigh", "shin"),
    **_pair("ankle", 0.12, "shin", "foot"),
}
"""COCO's 17 key points by name, in COCO's order."""

_PART_OF_JOINT: Final = (
    "hips", "left_thigh", "right_thigh", "torso", "left_shin", "right_shin", "torso", "left_foot", "right_foot",
    "torso", "left_foot", "right_foot", "neck", "torso", "torso", "head", "left_upper_arm", "right_upper_arm",
    "left_forearm", "right_forearm", "left_hand", "right_hand", "left_hand", "right_hand",
)  # fmt: skip
_SPAN_OF_JOINT: Final[dict[str, tuple[str, float, float]]] = {
    **{f"{side}_hip": (f"{side}_knee", 0.0, 0.5) for side in ("left", "right")},
    **{f"{side}_knee": (f"{side}_ankle", 0.5, 1.0) for side in ("left", "right")},
    **{f"{side}_ankle": (f"{side}_foot", 0.3, 0.75) for side in ("left", "right")},
    **{f"{side}_shoulder": (f"{side}_elbow", 0.0, 0.4) for side in ("left", "right")},
    **{f"{side}_elbow": (f"{side}_wrist", 0.4, 0.8) for side in ("left", "right")},
    **{f"{side}_wrist": (f"{side}_hand", 0.8, 0.9) for side in ("left", "right")},
    "neck": ("pelvis", 0.1, 0.85),
}
"""For bodies without `along`: joint -> (the joint it points to, `along` there and here)."""


def parts_from_weights(weights: Float[np.ndarray, "v 24"], faces: Int[np.ndarray, "f 3"]) -> UInt8[np.ndarray, "f"]:
    """Name each face after the joint that moves it most: for SMPL files, which know no parts (and so no hair)."""
    of_joint = np.array([PART_ID[name] for name in _PART_OF_JOINT], dtype=np.uint8)
    return of_joint[weights[faces].sum(axis=1).argmax(axis=1)]


def along_from_skeleton(
    vertices: Float[np.ndarray, "v 3"], joints: Float[np.ndarray, "24 3"], weights: Float[np.ndarray, "v 24"]
) -> Float[np.ndarray, "v"]:
    """Project each vertex on the bone that moves it most: `along` for bodies that come without it."""
    along = np.full(len(vertices), 0.5, dtype=np.float32)
    owner = weights.argmax(axis=1)
    for number, name in enumerate(JOINTS):
        bone = _SPAN_OF_JOINT.get(name) or (
            _SPAN_OF_JOINT["neck"] if _PART_OF_JOINT[number] in ("torso", "hips") else None
        )
        if bone is None:
            continue
        start = joints[number if name in _SPAN_OF_JOINT else JOINT_ID["neck"]]
        axis = joints[JOINT_ID[bone[0]]] - start
        mine = owner == number
        share = (vertices[mine] - start) @ axis / max(float(axis @ axis), 1e-12)
        along[mine] = np.clip(bone[1] + share * (bone[2] - bone[1]), 0.0, 1.0)
    return along
