"""The capsule body: a person swept from elliptical rings, made from nothing but tables of measures.

Why: tests and the first ten minutes need a body with no download and no licence. The trunk with neck, each arm, leg
and foot, the head and the hair are closed tubes that overlap; none is merged across limbs, so no pose can web two of
them together. Every shape coefficient changes the measures the tubes are swept from, and `shapedirs` are the central
differences of the sweep: fields of displacement in metres for one standard deviation.
Source: own construction; format and joints of Loper et al. 2015. Trade-off: creases where tubes meet, which clothes,
inflated along the normals, cover.

Shape coefficients: 0 overall size, 1 girth, 2 shoulder width, 3 hip width, 4 leg length, 5 torso length, 6 arm length,
7 belly, 8 chest, 9 girth of the limbs.
"""

from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Float

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID, PARENTS, PART_ID, VERTEX_NAMES
from resight.rendering.profiles import ARM, FOOT, HAIR, HEAD, LEG, PELVIS, TRUNK, sample
from resight.rendering.ringweights import tube_weights
from resight.rendering.tube import Tube, axes

__all__ = ["capsule_body"]

_HIP: Final = np.array([0.088, 0.880, -0.005])
_KNEE: Final = np.array([0.104, 0.485, 0.005])
_ANKLE: Final = np.array([0.116, 0.085, -0.018])
_SHOULDER: Final = np.array([0.174, 1.366, -0.022])
_UPPER_ARM: Final = 0.285 * np.array([0.3420, -0.9397, 0.0000])
_FOREARM: Final = 0.255 * np.array([0.3050, -0.9480, 0.0900])
_HAND: Final = 0.175 * np.array([0.2400, -0.9650, 0.1100])
_FOOT_LENGTH: Final = 0.255
_HEAD_JOINT: Final = 1.520
_ROOT: Final = np.array([0.0, 0.0, sample(TRUNK, np.array([PELVIS]))[0, 3]])
_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _bump(position: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-(((position - centre) / width) ** 2))


def _lift(height: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Height above the pelvis for a height of the mean body: the trunk stretches, the crotch and the head do not."""
    above = height - PELVIS
    trunk = np.clip(above, 0.0, _HEAD_JOINT - PELVIS)
    return above + trunk * 0.05 * b[5]


def _trunk(b: np.ndarray) -> Tube:
    height = np.array([
        0.790, 0.800, 0.815, 0.840, 0.870, 0.900, PELVIS, 0.965, 1.000, 1.040, 1.080, 1.120, 1.160, 1.205, 1.250, 1.290,
        1.325, 1.352, 1.376, 1.398, 1.430, 1.448, _HEAD_JOINT, 1.560,
    ])  # fmt: skip
    half, ahead, behind, z, square = sample(TRUNK, height).T
    girth = np.where(height < 1.44, 0.070, 0.045) * b[1]
    belly, chest = _bump(height, 1.05, 0.095) * b[7], _bump(height, 1.275, 0.075) * b[8]
    hips, shoulders = _bump(height, 0.885, 0.075) * b[3], _bump(height, 1.36, 0.06) * b[2]
    centre = np.stack([np.zeros_like(z), _lift(height, b), z], axis=1)
    part = np.where(
        height[:-1] >= 1.448, PART_ID["neck"], np.where(height[:-1] >= 1.0, PART_ID["torso"], PART_ID["hips"])
    )
    marks = np.array([[0.79, 1.0], [1.04, 0.62], [1.38, 0.2], [1.448, 0.1], [1.56, 0.0]]).T
    return Tube(
        centre=centre, **axes(len(height), _X, _Z), at=height,
        half=half * (1 + girth) + 0.010 * belly + 0.009 * chest + 0.013 * hips + 0.013 * shoulders,
        ahead=ahead * (1 + girth) + 0.025 * belly + 0.013 * chest,
        behind=behind * (1 + girth) + 0.003 * belly + 0.006 * chest + 0.006 * hips,
        square=square, along=np.interp(height, *marks), part=part, sides=24,
    )  # fmt: skip


def _leg_joints(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    out = np.array([0.006 * b[3] + 0.006 * b[1], -PELVIS, 0.0])
    hip = _HIP + out
    stretch = np.array([1.0, 1 + 0.055 * b[4], 1.0])
    knee = hip + (_KNEE - _HIP) * stretch
    return hip, knee, knee + (_ANKLE - _KNEE) * stretch


def _leg(b: np.ndarray) -> Tube:
    s = np.array([
        -0.120, -0.090, -0.045, 0.000, 0.050, 0.110, 0.180, 0.270, 0.360, 0.435, 0.475, 0.500, 0.535, 0.590, 0.670,
        0.760, 0.860, 0.940, 1.000, 1.055,
    ])  # fmt: skip
    half, ahead, behind, square = sample(LEG, s).T
    hip, knee, ankle = _leg_joints(b)
    upper, lower = np.minimum(s, 0.5)[:, None] / 0.5, np.maximum(s - 0.5, 0.0)[:, None] / 0.5
    girth = 1 + (0.07 * b[1] + 0.075 * b[9]) * np.interp(s, [0.0, 0.9, 1.0], [1.0, 0.7, 0.4])
    outer = 0.005 * b[3] * np.interp(s, [0.0, 0.3], [1.0, 0.0])
    return Tube(
        centre=hip + upper * (knee - hip) + lower * (ankle - knee), **axes(len(s), _X, _Z), at=s,
        half=half * girth + outer, ahead=ahead * girth, behind=behind * girth, square=square,
        along=np.clip(s, 0.0, 1.0), part=np.where(s[:-1] < 0.5, PART_ID["left_thigh"], PART_ID["left_shin"]), sides=12,
    )  # fmt: skip


def _arm_joints(b: np.ndarray) -> tuple[np.ndarray, ...]:
    rise = _lift(_SHOULDER[1:2], b)[0]
    shoulder = np.array([_SHOULDER[0] + 0.014 * b[2] + 0.004 * b[1], rise, _SHOULDER[2]])
    stretch = 1 + 0.05 * b[6]
    elbow = shoulder + _UPPER_ARM * stretch
    wrist = elbow + _FOREARM * stretch
    return shoulder, elbow, wrist, wrist + _HAND * (1 + 0.03 * b[6])


def _arm(b: np.ndarray) -> Tube:
    s = np.array([
        -0.056, -0.051, -0.036, 0.000, 0.050, 0.130, 0.220, 0.310, 0.370, 0.400, 0.440, 0.520, 0.620, 0.730, 0.800,
        0.840, 0.900, 0.950, 0.985, 1.000,
    ])  # fmt: skip
    half, ahead, behind, square = sample(ARM, s).T
    shoulder, elbow, wrist, tip = _arm_joints(b)
    upper = np.minimum(s, 0.4)[:, None] / 0.4
    lower = np.clip(s - 0.4, 0.0, 0.4)[:, None] / 0.4
    hand = np.maximum(s - 0.8, 0.0)[:, None] / 0.2
    girth = 1 + (0.05 * b[1] + 0.085 * b[9]) * np.interp(s, [0.0, 0.7, 0.82], [1.0, 0.8, 0.15])
    part = np.select(
        [s[:-1] < 0.4, s[:-1] < 0.8], [PART_ID["left_upper_arm"], PART_ID["left_forearm"]], PART_ID["left_hand"]
    )
    return Tube(
        centre=shoulder + upper * (elbow - shoulder) + lower * (wrist - elbow) + hand * (tip - wrist),
        **axes(len(s), (0.9455, 0.3256, 0.0), _Z), at=s,
        half=half * girth, ahead=ahead * girth, behind=behind * girth, square=square,
        along=np.clip(s, 0.0, 1.0), part=part, sides=10,
    )  # fmt: skip


def _foot(b: np.ndarray) -> Tube:
    s = np.array([0.0, 0.025, 0.07, 0.13, 0.20, 0.28, 0.37, 0.47, 0.57, 0.67, 0.78, 0.88, 0.955, 1.0])
    half, ahead, behind, square = sample(FOOT, s).T
    ankle = _leg_joints(b)[2]
    outward = np.array([0.12, 0.0, 1.0])
    start = ankle + np.array([-0.008, 0.030 - _ANKLE[1], -0.060])
    centre = start + s[:, None] * _FOOT_LENGTH * outward
    width = 1 + 0.03 * b[1] + 0.02 * b[9]
    return Tube(
        centre=centre, **axes(len(s), _X, _Y), at=s, half=half * width, ahead=ahead, behind=behind,
        square=square, along=s, part=np.full(len(s) - 1, PART_ID["left_foot"]), sides=10,
    )  # fmt: skip


def _skull(b: np.ndarray) -> Tube:
    height = np.array([1.494, 1.499, 1.510, 1.530, 1.555, 1.590, 1.622, 1.645, 1.667, 1.686, 1.703, 1.714, 1.718])
    half, ahead, behind, z, square = sample(HEAD, height).T
    girth = 1 + 0.02 * b[1] * _bump(height, 1.54, 0.05)
    return Tube(
        centre=np.stack([np.zeros_like(z), _lift(height, b), z], axis=1), **axes(len(height), _X, _Z), at=height,
        half=half * girth, ahead=ahead, behind=behind, square=square, along=(1.718 - height) / (1.718 - 1.494),
        part=np.full(len(height) - 1, PART_ID["head"]), sides=18,
    )  # fmt: skip


def _hair(b: np.ndarray) -> Tube:
    height = np.array([
        1.736, 1.733, 1.724, 1.707, 1.682, 1.655, 1.625, 1.585, 1.545, 1.495, 1.440, 1.380, 1.320, 1.280,
    ])  # fmt: skip
    half, ahead, behind, z, square = sample(HAIR, height).T
    return Tube(
        centre=np.stack([np.zeros_like(z), _lift(height, b), z], axis=1), **axes(len(height), _X, _Z), at=height,
        half=half, ahead=ahead, behind=behind, square=square, along=(1.736 - height) / (1.736 - 1.280),
        part=np.full(len(height) - 1, PART_ID["hair"]), sides=16,
    )  # fmt: skip


def _tubes(b: np.ndarray) -> dict[str, Tube]:
    """Sweep the body for shape coefficients `b` (10,); overall size is a factor on everything else."""
    arm, leg, foot = _arm(b), _leg(b), _foot(b)
    return {
        "trunk": _trunk(b), "head": _skull(b), "hair": _hair(b),
        "left_arm": arm, "right_arm": arm.mirrored(), "left_leg": leg, "right_leg": leg.mirrored(),
        "left_foot": foot, "right_foot": foot.mirrored(),
    }  # fmt: skip


def _sweep(b: np.ndarray) -> Float[np.ndarray, "v 3"]:
    vertices = np.concatenate([tube.vertices() for tube in _tubes(b).values()])
    return (vertices + _nose(vertices, b) - _ROOT) * (1 + 0.035 * b[0])


def _nose(vertices: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Push the middle of the face forward; it tells front from back in profile."""
    tip = np.array([0.0, _lift(np.array([1.590]), b)[0], 0.095])
    near = np.exp(-np.sum(((vertices - tip) / np.array([0.014, 0.022, 0.02])) ** 2, axis=1))
    return near[:, None] * np.array([0.0, -0.003, 0.017])


_TRUNK_JOINTS: Final = {
    "pelvis": PELVIS,
    "spine1": 1.04,
    "spine2": 1.16,
    "spine3": 1.25,
    "neck": 1.43,
    "head": _HEAD_JOINT,
}
_LIMB_JOINTS: Final = {
    "hip": ("leg", 0.0), "knee": ("leg", 0.5), "ankle": ("leg", 1.0), "foot": ("foot", 0.67), "shoulder": ("arm", 0.0),
    "elbow": ("arm", 0.4), "wrist": ("arm", 0.8), "hand": ("arm", 0.9),
}  # fmt: skip


def _regressor(tubes: dict[str, Tube], first: dict[str, int], count: int) -> np.ndarray:
    """Take each joint as the centre of a ring, the mean of its two side vertices: exact for every shape."""
    rows = np.zeros((len(JOINT_ID), count))

    def ring(tube: str, at: float) -> np.ndarray:
        row = np.zeros(count)
        row[[first[tube] + vertex for vertex in tubes[tube].sides_of(at)]] = 0.5
        return row

    for joint, height in _TRUNK_JOINTS.items():
        rows[JOINT_ID[joint]] = ring("trunk", height)
    for side in ("left", "right"):
        for joint, (limb, at) in _LIMB_JOINTS.items():
            rows[JOINT_ID[f"{side}_{joint}"]] = ring(f"{side}_{limb}", at)
        rows[JOINT_ID[f"{side}_collar"]] = 0.4 * rows[JOINT_ID[f"{side}_shoulder"]] + 0.6 * ring("trunk", 1.352)
    return rows


# tube and place of each named vertex: metres, height above the floor, left side; right ones are mirrored
_PLACES: Final[dict[str, tuple[str, tuple[float, float, float]]]] = {
    "nose": ("head", (0.0, 1.590, 0.120)),
    "leye": ("head", (0.032, 1.625, 0.085)),
    "lear": ("head", (0.075, 1.600, 0.0)),
    "lthumb": ("left_arm", (0.355, 0.80, 0.060)),
    "lindex": ("left_arm", (0.380, 0.72, 0.055)),
    "lmiddle": ("left_arm", (0.385, 0.70, 0.030)),
    "lring": ("left_arm", (0.385, 0.71, 0.015)),
    "lpinky": ("left_arm", (0.380, 0.73, 0.0)),
    "LBigToe": ("left_foot", (0.115, 0.030, 0.190)),
    "LSmallToe": ("left_foot", (0.180, 0.030, 0.150)),
    "LHeel": ("left_foot", (0.108, 0.030, -0.080)),
}


def _vertex_ids(tubes: dict[str, Tube], first: dict[str, int]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for name, (tube, place) in _PLACES.items():
        other = ("R" if name[0] == "L" else "r") + name[1:]
        goal = np.array(place) - (0.0, PELVIS, 0.0)
        sides = [(name, tube, goal), (other, tube.replace("left", "right"), goal * (-1.0, 1.0, 1.0))]
        for label, of_tube, at in sides[: 1 if name == "nose" else 2]:
            nearest = np.sum((tubes[of_tube].vertices() - at) ** 2, axis=1).argmin()
            ids[label] = first[of_tube] + int(nearest)
    return {name: ids[name] for name in VERTEX_NAMES}


@cache
def capsule_body() -> Body:
    """Make the body: about 2,000 vertices, 4,100 faces; the same arrays on every machine (rounded to a micrometre)."""
    mean = _tubes(np.zeros(10))
    first = dict(zip(mean, np.cumsum([0, *(len(tube) for tube in mean.values())]).tolist(), strict=False))
    template = np.round(_sweep(np.zeros(10)), 6)
    steps = np.stack([(_sweep(unit) - _sweep(-unit)) / 2 for unit in np.eye(10)], axis=-1)  # (V, 3, 10)
    meshes = [(faces + first[name], part) for name, tube in mean.items() for faces, part in [tube.faces()]]
    weights = np.concatenate([tube_weights(name, tube.spread(tube.at), tube.vertices()) for name, tube in mean.items()])
    return Body(
        v_template=template.astype(np.float32),
        shapedirs=np.round(steps, 6).astype(np.float32),
        posedirs=np.zeros((len(template), 3, 207), np.float32),
        J_regressor=_regressor(mean, first, len(template)).astype(np.float32),
        weights=np.round(weights, 6).astype(np.float32),
        kintree_table=np.array([PARENTS, range(24)], np.int32),
        f=np.concatenate([faces for faces, _ in meshes]).astype(np.int32),
        face_part=np.concatenate([part for _, part in meshes]).astype(np.uint8),
        along=np.concatenate([tube.spread(tube.along) for tube in mean.values()]).astype(np.float32),
        vertex_ids=_vertex_ids(mean, first),
    )
