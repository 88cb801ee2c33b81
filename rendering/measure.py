"""Lengths and girths of any body in metres, and the words people use for them.

What: `measurements` measures a body in the common stance (`stance`), whatever pose it rests in, so that arms that are
modelled spread out do not widen the shoulders; `shape_words` names 16 axes.

Source: landmarks as in ISO 8559-1 (girths are convex hulls of slices, as a tape measures); the 16 axes of words follow
the descriptors of Hill, Streuber et al. 2016 and of Myers et al. 2023 without the subjective ones. Words come from
fixed thresholds on measurements, never from ratings.
Trade-off: thresholds are quantiles of bodies drawn from the standard normal shape space of the body model (rounded ones
of the capsule body are given here, others stand in a body's file, see `wordscale`), so "average" means average for it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float
from numba import njit

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID, PART_ID
from resight.rendering.skinning import skin_one
from resight.rendering.stance import in_stance

__all__ = ["AXES", "THRESHOLDS", "measurements", "scores", "shape_words", "silhouette_scores"]

AXES: Final[dict[str, tuple[str, ...]]] = {
    "height": ("short", "average height", "tall"),
    "build": ("skinny", "slim", "average build", "heavyset"),
    "muscularity": ("soft", "toned", "muscular"),
    "shoulders": ("narrow shoulders", "average shoulders", "broad shoulders"),
    "chest": ("flat chest", "average chest", "deep chest"),
    "waist": ("slim waist", "average waist", "thick waist"),
    "belly": ("flat belly", "average belly", "round belly"),
    "hips": ("narrow hips", "average hips", "wide hips"),
    "silhouette": ("rectangular", "hourglass", "pear-shaped", "apple-shaped", "inverted-triangle"),
    "torso length": ("short torso", "long torso"),
    "leg length": ("short legs", "long legs"),
    "leg thickness": ("thin legs", "average legs", "thick legs"),
    "arm length": ("short arms", "long arms"),
    "arm thickness": ("thin arms", "average arms", "thick arms"),
    "neck": ("short neck", "long neck"),
    "frame": ("petite", "average frame", "sturdy"),
}
"""The 16 axes, each with its words from little to much; `silhouette` has no order."""

THRESHOLDS: Final[dict[str, tuple[float, ...]]] = {
    "height": (1.67, 1.76),
    "build": (1.38, 1.48, 1.64),
    "muscularity": (1.10, 1.23),
    "shoulders": (0.256, 0.280),
    "chest": (0.507, 0.571),
    "waist": (0.425, 0.476),
    "belly": (0.103, 0.123),
    "hips": (0.516, 0.568),
    "torso length": (0.289,),
    "leg length": (0.513,),
    "leg thickness": (0.296, 0.339),
    "arm length": (0.313,),
    "arm thickness": (0.164, 0.185),
    "neck": (0.053,),
    "frame": (0.77, 0.84),
    "silhouette": (0.91, 1.42, 1.21, 0.79),
}
"""Where one word gives way to the next; the quantity is that of `scores`. For the silhouette, where the quantities of
`silhouette_scores` make a body apple-shaped (above), inverted-triangle (above), pear-shaped (below), hourglass (below).
"""


def measurements(body: Body, betas: Float[np.ndarray, "10"]) -> dict[str, float]:
    """Measure the body in the common stance, in metres.

    Returns:
        height (without hair), leg_length (hip joint to floor), torso_length (pelvis to neck), arm_length (shoulder to
        wrist), neck_length, shoulder_width (over the arms), hip_width, chest_depth, belly_depth, and the girths
        chest, waist, belly, hips, thigh, calf, upper_arm, neck.
    """
    pose = in_stance(body)
    if pose.any():
        posed = skin_one(body, betas, pose, np.zeros(3))
        shaped, places = posed[0].astype(np.float64), posed[1].astype(np.float64)
    else:
        shaped = body.v_template.astype(np.float64) + body.shapedirs.astype(np.float64) @ np.asarray(betas, np.float64)
        places = body.J_regressor.astype(np.float64) @ shaped
    joints = dict(zip(JOINT_ID, places, strict=True))
    return {**_lengths(body, shaped, joints), **_trunk(body, shaped, joints), **_limbs(body, shaped, joints)}


@lru_cache(maxsize=64)
def _edges(body: Body, *parts: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices of some parts' faces, and the (e, 2) edges as places among these."""
    faces = body.f[np.isin(body.face_part, [PART_ID[part] for part in parts])]
    used, edges = np.unique(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), return_inverse=True)
    return used, edges


@lru_cache(maxsize=4)
def _scalp(body: Body) -> np.ndarray:
    """Return the vertices of all faces but the hair's."""
    return np.unique(body.f[body.face_part != PART_ID["hair"]])


def _lengths(body: Body, shaped: np.ndarray, joints: Mapping[str, np.ndarray]) -> dict[str, float]:
    scalp = shaped[_scalp(body)]
    floor = float(scalp[:, 1].min())
    arm = (joints["left_shoulder"], joints["left_elbow"], joints["left_wrist"])
    sleeves = _slice(shaped, _edges(body, "left_upper_arm", "right_upper_arm"), arm[0], np.array([0.0, 1.0, 0.0]))
    return {
        "height": float(scalp[:, 1].max()) - floor,
        "leg_length": float(joints["left_hip"][1]) - floor,
        "torso_length": _distance(joints["pelvis"], joints["neck"]),
        "arm_length": _distance(arm[0], arm[1]) + _distance(arm[1], arm[2]),
        "neck_length": _distance(joints["neck"], joints["head"]),
        "shoulder_width": float(np.ptp(sleeves[:, 0])),
    }


def _trunk(body: Body, shaped: np.ndarray, joints: Mapping[str, np.ndarray]) -> dict[str, float]:
    up = np.array([0.0, 1.0, 0.0])
    height = {name: float(joints[name][1]) for name in ("pelvis", "left_hip", "spine1", "spine2", "spine3", "neck")}
    trunk, seat = _edges(body, "torso", "hips"), _edges(body, "hips", "left_thigh", "right_thigh")

    def level(edges: tuple[np.ndarray, np.ndarray], y: float) -> np.ndarray:
        return _slice(shaped, edges, np.array([0.0, y, 0.0]), up)

    chest = level(trunk, height["spine3"] + 0.17 * (height["neck"] - height["spine3"]))
    waists = [_girth(level(trunk, y)) for y in np.linspace(height["spine1"], height["spine2"], 7)]
    belly = level(trunk, height["spine1"])
    seats = [level(seat, y) for y in np.linspace(height["left_hip"] - 0.04, height["pelvis"], 6)]
    widest = max(seats, key=_girth)
    return {
        "chest_girth": _girth(chest),
        "waist_girth": min(waists),
        "belly_girth": _girth(belly),
        "hip_girth": _girth(widest),
        "hip_width": float(np.ptp(widest[:, 0])),
        "chest_depth": float(np.ptp(chest[:, 2])),
        "belly_depth": float(np.ptp(belly[:, 2])),
        "neck_girth": _girth(level(_edges(body, "neck"), 0.5 * float(joints["neck"][1] + joints["head"][1]))),
    }


def _limbs(body: Body, shaped: np.ndarray, joints: Mapping[str, np.ndarray]) -> dict[str, float]:
    places = {
        "thigh_girth": ("left_thigh", "left_hip", "left_knee", 0.25),
        "calf_girth": ("left_shin", "left_knee", "left_ankle", 0.32),
        "upper_arm_girth": ("left_upper_arm", "left_shoulder", "left_elbow", 0.45),
    }
    out: dict[str, float] = {}
    for name, (part, start, end, share) in places.items():
        axis = joints[end] - joints[start]
        out[name] = _girth(_slice(shaped, _edges(body, part), joints[start] + share * axis, axis))
    return out


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.sum((a - b) ** 2)))


def _slice(
    vertices: np.ndarray, edges: tuple[np.ndarray, np.ndarray], point: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    """Cut edges with a plane: the (n, 3) points where they cross it, turned so that y is the plane's normal."""
    points = _crossings(vertices, *edges, point, axis)
    if not len(points):
        raise ValueError("the plane misses the body; are its parts and joints right?")
    return points


@njit(cache=True, nogil=True)
def _crossings(
    vertices: np.ndarray, used: np.ndarray, pairs: np.ndarray, point: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    x, y, z = axis
    length = np.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    length = np.sqrt(x * x + y * y)
    across, along = y / length, -x / length  # of the side, which is level in z
    turned = np.empty((used.size, 3))
    for n in range(used.size):
        px, py, pz = (
            vertices[used[n], 0] - point[0], vertices[used[n], 1] - point[1], vertices[used[n], 2] - point[2]
        )  # fmt: skip
        turned[n, 0] = px * across + py * along
        turned[n, 1] = px * x + py * y + pz * z
        turned[n, 2] = px * along * z - py * across * z + pz * (across * y - along * x)
    found, size = np.empty((len(pairs), 3)), 0
    for n in range(len(pairs)):
        a, b = pairs[n, 0], pairs[n, 1]
        above, below = turned[a, 1], turned[b, 1]
        if (above < 0) != (below < 0):
            share = above / (above - below)
            for k in range(3):
                found[size, k] = turned[a, k] + (turned[b, k] - turned[a, k]) * share
            size += 1
    return found[:size]


def _girth(points: np.ndarray) -> float:
    """Length of a tape round points of a slice: the perimeter of their convex hull."""
    flat = points[:, [0, 2]]
    ring = _hull(flat[np.lexsort((flat[:, 1], flat[:, 0]))])
    return float(np.sqrt(np.sum((ring - np.roll(ring, 1, axis=0)) ** 2, axis=1)).sum())


@njit(cache=True, nogil=True)
def _hull(points: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull, in order round it, of points sorted by x, then y (Andrew 1979)."""
    count = len(points)
    ring, size = np.empty((2 * count, 2)), 0
    for chain in range(2):
        start = size
        for k in range(count):
            p = points[k if chain == 0 else count - 1 - k]
            while size - start > 1 and _turns_right(ring[size - 2], ring[size - 1], p):
                size -= 1
            ring[size] = p
            size += 1
        size -= 1  # the other chain begins there
    return ring[:size]


@njit(cache=True, nogil=True)
def _turns_right(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0


def scores(m: Mapping[str, float]) -> dict[str, float]:
    """Return the quantity of each ordered axis: metres, or ratios to the height."""
    height = m["height"]
    return {
        "height": height,
        "build": (m["chest_girth"] + m["waist_girth"] + m["hip_girth"]) / height,
        "muscularity": m["chest_girth"] / m["belly_girth"],
        "shoulders": m["shoulder_width"] / height,
        "chest": m["chest_girth"] / height,
        "waist": m["waist_girth"] / height,
        "belly": m["belly_depth"] / height,
        "hips": m["hip_girth"] / height,
        "torso length": m["torso_length"] / height,
        "leg length": m["leg_length"] / height,
        "leg thickness": m["thigh_girth"] / height,
        "arm length": m["arm_length"] / height,
        "arm thickness": m["upper_arm_girth"] / height,
        "neck": m["neck_length"] / height,
        "frame": m["shoulder_width"] + m["hip_width"],
    }


def silhouette_scores(m: Mapping[str, float]) -> tuple[float, float, float]:
    """Return belly to the larger of chest and hips, shoulders to hips (widths), waist to hips (girths)."""
    return (
        m["belly_girth"] / max(m["chest_girth"], m["hip_girth"]),
        m["shoulder_width"] / m["hip_width"],
        m["waist_girth"] / m["hip_girth"],
    )


def _silhouette(m: Mapping[str, float], levels: tuple[float, ...]) -> str:
    """Compare shoulders, waist and hips; the first rule that holds names the shape."""
    apple, triangle, pear, hourglass = levels
    belly, top, waist = silhouette_scores(m)
    if belly > apple:
        return "apple-shaped"
    if top > triangle:
        return "inverted-triangle"
    if top < pear:
        return "pear-shaped"
    return "hourglass" if waist < hourglass else "rectangular"


def shape_words(measured: Mapping[str, float], scale: Mapping[str, tuple[float, ...]] | None = None) -> tuple[str, ...]:
    """Describe a body by one word on each of the 16 axes, in the order of `AXES`.

    Args:
        measured: what `measurements` returned.
        scale: the body's thresholds (`Body.word_scale`); those of the capsule body when None or empty.
    """
    levels = scale or THRESHOLDS
    words = {axis: AXES[axis][int(np.searchsorted(levels[axis], value))] for axis, value in scores(measured).items()}
    return tuple({**words, "silhouette": _silhouette(measured, levels["silhouette"])}[axis] for axis in AXES)
