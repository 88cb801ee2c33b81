"""What is in a picture beside the person: a stool to sit on, a box to carry, things and people in front.

What: `things_of` renders all of it for one image into one frame, with what casts shadows. Why: none of it belongs to
the person, so it hides and is never part of a mask, and an image without it pays nothing for it. Source: design of
this project. Trade-off: a passer-by is rendered twice, to find where it hides as much as it shall.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from resight.rendering.appearance import material
from resight.rendering.bags import joint_turns
from resight.rendering.body import Body
from resight.rendering.camera import Camera
from resight.rendering.dressing import dressed
from resight.rendering.layers import behind, hidden_share, merge
from resight.rendering.occluders import Hiding, occluder_solids, overlap_shift
from resight.rendering.outfits import stranger
from resight.rendering.parts import JOINT_ID, PART_ID
from resight.rendering.people import person
from resight.rendering.poses import walking
from resight.rendering.renderers import Draw
from resight.rendering.scenes import Scene
from resight.rendering.shading import Frame, Lights
from resight.rendering.skinning import rest_vertices, skin_one
from resight.rendering.solids import Solid, place
from resight.rendering.splits import Activity
from resight.rendering.stance import fitted

__all__ = ["Stage", "Things", "draw_solids", "furniture", "set_down", "things_before"]

FIRST_STRANGER: Final = 900_000
"""Identities of passers-by: nobody in any split."""

STRANGERS: Final = 200
"""How many of them there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """Where everything of one image happens: what renders it, from where, in which light."""

    seed: int
    body: Body
    draw: Draw
    camera: Camera
    lights: Lights
    place: Scene


@dataclass(frozen=True, kw_only=True, eq=False)
class Things:
    """What is no part of the person.

    Attributes:
        frame: of all of it.
        feet: (n, 2, 3) pairs of points on the floor that cast shadows, metres.
    """

    frame: Frame
    feet: Float64[np.ndarray, "n 2 3"]


def set_down(
    body: Body, betas: Float32[np.ndarray, "10"], pose: Float32[np.ndarray, "24 3"], at: Float64[np.ndarray, "2"]
) -> tuple[Float32[np.ndarray, "v 3"], Float32[np.ndarray, "24 3"]]:
    """Pose a body at x, z and set it down: the lowest vertex touches the floor."""
    vertices, joints = skin_one(body, betas, pose, np.array([at[0], 0.0, at[1]]))
    lift = np.array([0, -vertices[:, 1].min(), 0], np.float32)
    return vertices + lift, joints + lift


def draw_solids(stage: Stage, solids: list[Solid]) -> Frame:
    """Render things into one frame."""
    frames = [stage.draw(one.vertices, one.rest, one.shape, one.look, stage.camera, stage.lights) for one in solids]
    return reduce(merge, frames)


def furniture(
    activity: Activity,
    body: Body,
    vertices: Float32[np.ndarray, "v 3"],
    joints: Float32[np.ndarray, "24 3"],
    pose: Float32[np.ndarray, "24 3"],
    colour: Float64[np.ndarray, "3"],
) -> list[Solid]:
    """Return what the activity needs: a stool under whoever sits, a box in the hands of whoever carries.

    Args:
        activity: what the person does.
        body: for its parts.
        vertices: posed, metres in the world.
        joints: posed, metres in the world.
        pose: axis-angle rotations, radians.
        colour: linear red, green, blue of the thing.
    """
    if activity not in ("sitting", "carrying"):
        return []
    red, green, blue = colour.tolist()
    look = material("plain", (red, green, blue), mottle=0.3, scale=8.0)
    forward = joint_turns(pose)[0] @ np.array([0.0, 0.0, 1.0])
    heading = float(np.arctan2(forward[0], forward[2]))
    turn = np.array([[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]])
    if activity == "sitting":
        hips = vertices[np.unique(body.f[body.face_part == PART_ID["hips"]])]
        top = float(hips[:, 1].min()) + 0.015
        pelvis = joints[JOINT_ID["pelvis"]].astype(np.float64)
        centre = pelvis + turn @ np.array([0.0, 0.0, 0.03])
        return [
            place("box", centre=np.array([centre[0], top / 2, centre[2]]), size=(0.42, top, 0.38), turn=turn, look=look)
        ]
    left, right = (joints[JOINT_ID[f"{side}_hand"]].astype(np.float64) for side in ("left", "right"))
    width = max(float(np.linalg.norm(left - right)) - 0.07, 0.15)
    centre = (left + right) / 2 + turn @ np.array([0.0, 0.03, 0.04])
    return [place("box", centre=centre, size=(width, 0.26, 0.28), turn=turn, look=look)]


def things_before(stage: Stage, what: Hiding, whole: Frame, at: Float64[np.ndarray, "2"], most: float) -> Things:
    """Return what hides a person, never more than `most` of it: what hides too much is made to hide less.

    Args:
        stage: of the image.
        what: drawn.
        whole: the person.
        at: x and z of the person on the floor, metres.
        most: share of the person that may be hidden.
    """
    for _ in range(5):
        made = _passer_by(stage, what, whole.mask, at) if what.kind == "person" else _solids(stage, what, whole, at)
        hidden = hidden_share(whole.mask, behind(whole, made.frame).mask)
        if hidden <= most:
            return made
        what = replace(what, target=what.target * min(0.85, 0.9 * most / hidden))
    return Things(frame=_nothing(whole), feet=np.zeros((0, 2, 3)))


def _nothing(like: Frame) -> Frame:
    return replace(
        like,
        rgb=np.zeros_like(like.rgb),
        alpha=np.zeros_like(like.alpha),
        mask=np.zeros_like(like.mask),
        part=np.zeros_like(like.part),
        depth=np.full_like(like.depth, np.inf),
        normal=np.zeros_like(like.normal),
    )


def _solids(stage: Stage, what: Hiding, whole: Frame, at: Float64[np.ndarray, "2"]) -> Things:
    solids = occluder_solids(what, stage.camera, whole.mask, float(at[1]))
    return Things(frame=draw_solids(stage, solids), feet=np.concatenate([_footing(one) for one in solids]))


def _footing(solid: Solid) -> Float64[np.ndarray, "n 2 3"]:
    """Return points half a metre apart along what touches the floor; none for what does not."""
    low, high = solid.vertices.min(0).astype(np.float64), solid.vertices.max(0).astype(np.float64)
    if low[1] > 0.02:
        return np.zeros((0, 2, 3))
    count = int(min(max(np.ceil((high[0] - low[0]) / 0.5), 1), 8))
    xs = low[0] + (high[0] - low[0]) * (np.arange(count) + 0.5) / count
    ends = [np.stack([xs, np.zeros(count), np.full(count, z)], 1) for z in (low[2], high[2])]
    return np.stack(ends, axis=1)


def _passer_by(stage: Stage, what: Hiding, amodal: UInt8[np.ndarray, "h w"], at: Float64[np.ndarray, "2"]) -> Things:
    """Let somebody walk by: first in line with the camera, then as far to the side as hides the right share."""
    number = what.number % STRANGERS
    who = person(stage.seed, FIRST_STRANGER + number)
    worn = dressed(who, stranger(stage.seed, number))
    heading = stage.place.flow + (np.pi if what.ways[2] < 0.5 else 0.0) + 0.5 * (what.ways[3] - 0.5)
    pose = fitted(stage.body, walking(float(what.ways[4]), who.gait, heading=float(heading)))
    away = float(at[1]) - 0.6 - 0.9 * float(what.ways[0])
    spot = np.array([at[0] * away / at[1], away])
    rest = rest_vertices(stage.body, who.betas)

    def taken(where: Float64[np.ndarray, "2"]) -> tuple[Frame, Float32[np.ndarray, "24 3"]]:
        vertices, joints = set_down(stage.body, who.betas, pose, where)
        return stage.draw(vertices, rest, stage.body, worn, stage.camera, stage.lights), joints

    shift = overlap_shift(amodal, taken(spot)[0].mask, what.target, what.side)
    depth = float(stage.camera.project(np.array([spot[0], 1.0, spot[1]]))[2])
    frame, joints = taken(spot + np.array([-shift * depth / stage.camera.focal[0], 0.0]))
    return Things(frame=frame, feet=joints[None, [JOINT_ID["left_foot"], JOINT_ID["right_foot"]]].astype(np.float64))
