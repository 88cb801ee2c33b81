"""The 21 named vertices of any body, found by its shape: nose, eyes, ears, finger tips, toes, heels.

Why: published bodies name them by number, and those numbers belong to one mesh; key points of the face and loaders
of SMPL arrays want them for every mesh. Source: own; names as loaders of SMPL files have them. Trade-off: finger tips
are spread evenly over the end of the hand, which serves any hand and is exact for none.
"""

from typing import Final

import numpy as np
from jaxtyping import Float

from resight.rendering.body import Body
from resight.rendering.parts import JOINT_ID, VERTEX_NAMES

__all__ = ["named_vertices"]

_FACE: Final = {"eye": (0.031, 0.035, -0.035), "ear": (0.075, 0.010, -0.115)}
"""Places against the tip of the nose on a head of the usual size, metres: aside, up, forward."""

_NOSE_TO_CROWN: Final = 0.128
_FINGERS: Final = {"index": 0.75, "middle": 0.25, "ring": -0.25, "pinky": -0.75}
"""Where finger tips lie across the hand, from -1 to 1 towards the thumb."""


def named_vertices(body: Body) -> dict[str, int]:
    """Return the number of each vertex in `parts.VERTEX_NAMES`."""
    at = body.v_template.astype(np.float64)
    joints = dict(zip(JOINT_ID, body.J_regressor.astype(np.float64) @ at, strict=True))
    found = _face(at, body.weights)
    for side, letter, big in (("left", "l", "L"), ("right", "r", "R")):
        found |= {f"{letter}{name}": vertex for name, vertex in _hand(at, body.weights, joints, side).items()}
        found |= {f"{big}{name}": vertex for name, vertex in _foot(at, body.weights, side).items()}
    return {name: found[name] for name in VERTEX_NAMES}


def _nearest(at: np.ndarray, among: np.ndarray, goal: np.ndarray) -> int:
    return int(among[np.argmin(np.sum((at[among] - goal) ** 2, axis=1))])


def _face(at: Float[np.ndarray, "v 3"], weights: np.ndarray) -> dict[str, int]:
    skull = np.flatnonzero(weights[:, JOINT_ID["head"]] > 0.5)
    middle = skull[np.abs(at[skull, 0]) < 0.015]
    nose = int(middle[at[middle, 2].argmax()])
    size = (at[skull, 1].max() - at[nose, 1]) / _NOSE_TO_CROWN
    found = {"nose": nose}
    for name, offset in _FACE.items():
        for letter, sign in (("l", 1.0), ("r", -1.0)):
            found[letter + name] = _nearest(at, skull, at[nose] + size * np.array(offset) * (sign, 1.0, 1.0))
    return found


def _hand(at: np.ndarray, weights: np.ndarray, joints: dict[str, np.ndarray], side: str) -> dict[str, int]:
    wrist = joints[f"{side}_wrist"]
    mine = np.flatnonzero(weights[:, [JOINT_ID[f"{side}_wrist"], JOINT_ID[f"{side}_hand"]]].sum(axis=1) > 0.5)
    forward = joints[f"{side}_hand"] - wrist
    forward = forward / np.sqrt(forward @ forward)
    thumbwards = _thumbwards(at[mine] - wrist, forward)
    reach, across = (at[mine] - wrist) @ forward, (at[mine] - wrist) @ thumbwards
    far = mine[reach > 0.75 * reach.max()]
    width = np.abs((at[far] - wrist) @ thumbwards)
    tip = wrist + reach.max() * forward
    centre = float(np.mean((at[far] - wrist) @ thumbwards))
    half = float(width.max() - abs(centre)) if width.max() > abs(centre) else float(width.max())
    found = {name: _nearest(at, far, tip + (centre + place * half) * thumbwards) for name, place in _FINGERS.items()}
    return {"thumb": int(mine[(across + 0.3 * reach).argmax()]), **found}


def _thumbwards(hand: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """The direction across a flat hand in which it reaches farther from the line through its knuckles."""
    flat = hand[hand @ forward > 0]
    flat = flat - (flat @ forward)[:, None] * forward
    _, _, rows = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    across = rows[0] - (rows[0] @ forward) * forward
    across /= np.sqrt(across @ across)
    return across if (flat @ across).max() > -(flat @ across).min() else -across


def _foot(at: np.ndarray, weights: np.ndarray, side: str) -> dict[str, int]:
    mine = np.flatnonzero(weights[:, [JOINT_ID[f"{side}_ankle"], JOINT_ID[f"{side}_foot"]]].sum(axis=1) > 0.5)
    floor = at[mine, 1].min()
    low = mine[at[mine, 1] < floor + 0.05]
    outwards = at[low, 0] * (1.0 if side == "left" else -1.0)
    length = float(np.ptp(at[low, 2]))
    return {
        "BigToe": int(low[(at[low, 2] - 0.5 * outwards).argmax()]),
        "SmallToe": int(
            low[(at[low, 2] + 2.0 * outwards - np.maximum(at[low, 2].max() - 0.35 * length - at[low, 2], 0)).argmax()]
        ),
        "Heel": int(low[at[low, 2].argmin()]),
    }
