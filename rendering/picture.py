"""One image of the world, with its labels: person, clothes, moment, camera and scene brought together.

What: `picture(body, seed, spec)` is the whole renderer as one pure function. Why: every image must be the same
whatever shard it is in and whichever process makes it, so nothing is passed in but the body, the seed and the image's
own numbers. Source: design of this project. Trade-off: an image is made alone, which costs the batching of the
skinning and buys equal bytes.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from resight.rendering.appearance import Appearance
from resight.rendering.bags import bag_solids, belt
from resight.rendering.body import Body
from resight.rendering.camera import Camera
from resight.rendering.crops import compose, crop_box, whole_camera
from resight.rendering.draws import stream
from resight.rendering.dressing import chest, dressed, moulded
from resight.rendering.labels import keypoints
from resight.rendering.layers import behind, merge
from resight.rendering.moments import pose_for
from resight.rendering.occluders import hiding
from resight.rendering.outfits import Outfit, outfit, twin
from resight.rendering.parts import JOINT_ID
from resight.rendering.people import Person, double, person, sibling
from resight.rendering.renderers import Draw
from resight.rendering.scenes import Scene, backdrop, scene
from resight.rendering.shading import Frame, Lights, render
from resight.rendering.shots import Shot, shot, view
from resight.rendering.skinning import rest_vertices
from resight.rendering.splits import Activity
from resight.rendering.stance import fitted
from resight.rendering.strips import Strip, neckline
from resight.rendering.styles import develop, neutral, style
from resight.rendering.surroundings import Stage, Things, draw_solids, furniture, set_down, things_before
from resight.rendering.world import ImageSpec

__all__ = ["Picture", "before_paper", "picture", "who_is_it"]

PAPER: Final = 0.55
"""Linear light behind bodies in the studio."""

_STUDIO: Final = Lights(direction=(0.4, 0.8, -0.6))
"""Light over the shoulder of cameras that look along +z."""

_FEET = [JOINT_ID["left_foot"], JOINT_ID["right_foot"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One image and what is known of it.

    Attributes:
        image: (h, w, 3) 8-bit sRGB.
        mask: (h, w) 255 where the person is seen, else 0.
        parts: (h, w) body part 1..17 where the mask is, else 0; a bag counts as the part that carries it.
        amodal: (h, w) 255 where the person is, seen or hidden by something, else 0.
        keypoints: (17, 3) x, y in pixels, visibility.
        pose: (24, 3) axis-angle rotations, radians.
        viewid: which side is seen (`shots.VIEWS`).
        activity: what the person does.
        camera: that took it, for whoever checks the labels.
        joints: (24, 3) posed, metres in the world.
        depth: (h, w) of the nearest thing, metres, infinite where there is only the background.
    """

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]
    parts: UInt8[np.ndarray, "h w"]
    amodal: UInt8[np.ndarray, "h w"]
    keypoints: Float32[np.ndarray, "17 3"]
    pose: Float32[np.ndarray, "24 3"]
    viewid: int
    activity: Activity
    camera: Camera
    joints: Float32[np.ndarray, "24 3"]
    depth: Float32[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Subject:
    """The person in the world: metres."""

    who: Person
    activity: Activity
    pose: Float32[np.ndarray, "24 3"]
    vertices: Float32[np.ndarray, "v 3"]
    joints: Float32[np.ndarray, "24 3"]
    colour: Float64[np.ndarray, "3"]


def picture(body: Body, seed: int, spec: ImageSpec, draw: Draw = render) -> Picture:
    """Take one picture.

    Args:
        body: that is posed.
        seed: the world's.
        spec: the image.
        draw: the renderer (`renderers.find_renderer`).
    """
    place = scene(seed, spec.camera)
    moment = shot(seed, spec, place)
    subject = _subject(body, seed, spec, moment)
    camera = whole_camera(place)
    seen = camera.project(subject.vertices)[:, :2]
    box = crop_box(seen, spec.height, spec.width, fill=moment.fill, shift=moment.shift)
    right, bottom = box.left + box.scale * spec.width, box.top + box.scale * spec.height
    crop = camera.crop(box.left, box.top, right, bottom, height=spec.height, width=spec.width)
    studio = spec.staging.bare
    lights = _STUDIO if studio else _lights(place)
    stage = Stage(seed=seed, body=body, draw=draw, camera=crop, lights=lights, place=place)
    whole = _person(stage, spec, subject)
    frame, feet = _with_things(stage, spec, subject, moment, whole)
    if studio:
        light, look = before_paper(frame), neutral(spec.camera)
    else:
        empty = backdrop(seed, spec.camera, max(1, spec.height // 128))
        light, look = compose(empty, box, place, feet, frame.rgb, frame.alpha), style(seed, spec.camera)
    return Picture(
        image=develop(light, look, gain=moment.gain, noise_key=moment.noise_key),
        mask=frame.mask,
        parts=frame.part,
        amodal=whole.mask,
        keypoints=keypoints(crop, subject.joints, subject.vertices, body, depth=frame.depth, part=frame.part),
        pose=subject.pose,
        viewid=view(moment),
        activity=subject.activity,
        camera=crop,
        joints=subject.joints,
        depth=frame.depth,
    )


def before_paper(frame: Frame) -> Float32[np.ndarray, "h w 3"]:
    """Return a frame's linear light before a plain background."""
    return np.ascontiguousarray(frame.rgb + (1 - frame.alpha)[..., None] * np.float32(PAPER), np.float32)


def who_is_it(seed: int, spec: ImageSpec) -> Person:
    """Return the person in an image.

    A distractor with an odd number has nearly somebody else's body. Who imitates somebody's single outfit may be a
    sibling.
    """
    if spec.like >= 0 and spec.pid % 2:
        return double(seed, spec.pid, spec.like)
    model = twin(seed, spec.pid) if spec.wardrobe == 1 else None
    return person(seed, spec.pid) if model is None else sibling(seed, spec.pid, model)


def _subject(body: Body, seed: int, spec: ImageSpec, moment: Shot) -> _Subject:
    who, activities = who_is_it(seed, spec), spec.staging.activities
    activity, ways, colour = activities[0], np.zeros(4), np.zeros(3)
    if activities != ("moving",):
        draws = stream(seed, "activity", spec.pid, spec.outfit, spec.camera, spec.frame)
        activity = activities[int(draws.integers(len(activities)))]
        ways, colour = draws.random(4), np.exp(draws.uniform(-2.2, -0.8)) * np.exp(draws.uniform(-0.25, 0.25, 3))
    pose = pose_for(
        activity,
        who.gait,
        heading=moment.heading,
        phase=moment.phase,
        stands=moment.standing,
        ways=ways,
    )
    pose[JOINT_ID["head"]] += np.array([moment.look[1], moment.look[0], 0], np.float32)
    pose = fitted(body, pose)
    vertices, joints = set_down(body, who.betas, pose, moment.place)
    return _Subject(who=who, activity=activity, pose=pose, vertices=vertices, joints=joints, colour=colour)


def _person(stage: Stage, spec: ImageSpec, subject: _Subject) -> Frame:
    """Render the person with everything that it wears and has on it."""
    rest = _rest(stage.body, subject.who)
    look, worn = _worn(stage.seed, spec)
    frames = [stage.draw(subject.vertices, rest, stage.body, look, stage.camera, stage.lights)]
    if worn is not None and worn.collar < 0:
        frames.append(_strip(stage, neckline(stage.body, -worn.collar), subject, rest, chest(subject.who, worn)))
    if worn is not None and worn.bag is not None:
        straps = belt(stage.body, worn.bag, worn.upper.fit)
        if straps is not None:
            frames.append(_strip(stage, straps[0], subject, rest, straps[1]))
        bags = bag_solids(
            stage.body,
            worn.bag,
            vertices=subject.vertices,
            joints=subject.joints,
            pose=subject.pose,
            fit=worn.upper.fit,
        )
        frames.append(draw_solids(stage, bags))
    return reduce(merge, frames)


def _strip(stage: Stage, strip: Strip, subject: _Subject, rest: Float32[np.ndarray, "v 3"], look: Appearance) -> Frame:
    return stage.draw(strip.of(subject.vertices), strip.of(rest), strip.mesh, look, stage.camera, stage.lights)


def _with_things(
    stage: Stage, spec: ImageSpec, subject: _Subject, moment: Shot, whole: Frame
) -> tuple[Frame, Float64[np.ndarray, "n 2 3"]]:
    """Return the person among what stands around, and the feet that cast shadows."""
    found: list[Things] = []
    own = furniture(subject.activity, stage.body, subject.vertices, subject.joints, subject.pose, subject.colour)
    if own:
        found.append(Things(frame=draw_solids(stage, own), feet=np.zeros((0, 2, 3))))
    what = hiding(stage.seed, spec)
    if what is not None:
        found.append(things_before(stage, what, whole, moment.place, spec.staging.most))
    feet = [subject.joints[None, _FEET].astype(np.float64), *(things.feet for things in found)]
    frame = behind(whole, reduce(merge, (things.frame for things in found))) if found else whole
    return frame, np.concatenate(feet)


def _rest(body: Body, who: Person) -> Float32[np.ndarray, "v 3"]:
    return _shaped(body, who.betas.tobytes())


@lru_cache(maxsize=64)
def _shaped(body: Body, betas: bytes) -> Float32[np.ndarray, "v 3"]:
    return rest_vertices(body, np.frombuffer(betas, np.float32))


def _worn(seed: int, spec: ImageSpec) -> tuple[Appearance, Outfit | None]:
    if spec.staging.bare:
        return _clay(), None
    return _dressed(seed, replace(spec, camera=0, frame=0))


@lru_cache(maxsize=1)
def _clay() -> Appearance:
    return moulded()


@lru_cache(maxsize=64)
def _dressed(seed: int, spec: ImageSpec) -> tuple[Appearance, Outfit]:
    """Return what a person wears, the same before every camera and in every frame."""
    like = spec.like if spec.pid % 2 == 0 else -1
    worn = outfit(seed, spec.pid, spec.outfit, spec.wardrobe, extras=spec.staging.extras, like=like)
    return dressed(who_is_it(seed, spec), worn), worn


def _lights(place: Scene) -> Lights:
    x, y, z = place.light.tolist()
    sun, sky, ground = 1.1 * (1 - place.ambient), place.ambient, 0.55 * place.ambient
    return Lights(direction=(x, y, z), colour=(sun, sun, sun), sky=(sky, sky, sky), ground=(ground, ground, ground))
