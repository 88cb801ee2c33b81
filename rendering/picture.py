"""One image of the world, with its labels: person, clothes, moment, camera and scene brought together.

What: `picture(body, seed, spec)` is the whole renderer as one pure function. Why: every image must be the same
whatever shard it is in and whichever process makes it, so nothing is passed in but the body, the seed and the image's
own numbers. Source: design of this project. Trade-off: an image is made alone, which costs the batching of the
skinning and buys equal bytes.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8

from resight.rendering.appearance import Appearance
from resight.rendering.body import Body
from resight.rendering.crops import compose, crop_box, whole_camera
from resight.rendering.dressing import dressed
from resight.rendering.labels import keypoints
from resight.rendering.outfits import outfit
from resight.rendering.parts import JOINT_ID
from resight.rendering.people import Person, person
from resight.rendering.poses import standing, walking
from resight.rendering.scenes import Scene, backdrop, scene
from resight.rendering.shading import Lights, render
from resight.rendering.shots import Shot, shot, view
from resight.rendering.skinning import rest_vertices, skin_one
from resight.rendering.stance import fitted
from resight.rendering.styles import develop, style
from resight.rendering.world import ImageSpec

__all__ = ["Picture", "picture"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One image and what is known of it.

    Attributes:
        image: (h, w, 3) 8-bit sRGB.
        mask: (h, w) 255 where the person is, else 0.
        parts: (h, w) body part 1..17 where the mask is, else 0.
        keypoints: (17, 3) x, y in pixels, visibility.
        pose: (24, 3) axis-angle rotations, radians.
        viewid: which side is seen (`shots.VIEWS`).
    """

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]
    parts: UInt8[np.ndarray, "h w"]
    keypoints: Float32[np.ndarray, "17 3"]
    pose: Float32[np.ndarray, "24 3"]
    viewid: int


def picture(body: Body, seed: int, spec: ImageSpec) -> Picture:
    """Take one picture."""
    who, place = person(seed, spec.pid), scene(seed, spec.camera)
    moment = shot(seed, spec, place)
    pose = fitted(body, _pose(who, moment))
    vertices, joints = _stand(body, who, pose, moment)
    camera = whole_camera(place)
    box = crop_box(camera.project(vertices)[:, :2], spec.height, spec.width, fill=moment.fill, shift=moment.shift)
    right, bottom = box.left + box.scale * spec.width, box.top + box.scale * spec.height
    crop = camera.crop(box.left, box.top, right, bottom, height=spec.height, width=spec.width)
    frame = render(vertices, _rest(body, seed, spec.pid), body, _worn(seed, spec), crop, _lights(place))
    feet = joints[[JOINT_ID["left_foot"], JOINT_ID["right_foot"]]]
    scene_light = compose(backdrop(seed, spec.camera), box, place, feet, frame.rgb, frame.alpha)
    return Picture(
        image=develop(scene_light, style(seed, spec.camera), gain=moment.gain, noise_key=moment.noise_key),
        mask=frame.mask,
        parts=frame.part,
        keypoints=keypoints(crop, joints, vertices, body, depth=frame.depth, part=frame.part),
        pose=pose,
        viewid=view(moment),
    )


def _pose(who: Person, moment: Shot) -> Float32[np.ndarray, "24 3"]:
    if moment.standing:
        pose = standing(who.gait, heading=moment.heading, shift=2 * moment.phase - 1)
    else:
        pose = walking(moment.phase, who.gait, heading=moment.heading)
    pose[JOINT_ID["head"]] += np.array([moment.look[1], moment.look[0], 0], np.float32)
    return pose


def _stand(
    body: Body, who: Person, pose: Float32[np.ndarray, "24 3"], moment: Shot
) -> tuple[Float32[np.ndarray, "v 3"], Float32[np.ndarray, "24 3"]]:
    """Pose the body and set it down: the lowest vertex touches the floor."""
    vertices, joints = skin_one(body, who.betas, pose, np.array([moment.place[0], 0.0, moment.place[1]]))
    lift = np.array([0, -vertices[:, 1].min(), 0], np.float32)
    return vertices + lift, joints + lift


@lru_cache(maxsize=64)
def _rest(body: Body, seed: int, pid: int) -> Float32[np.ndarray, "v 3"]:
    return rest_vertices(body, person(seed, pid).betas)


def _worn(seed: int, spec: ImageSpec) -> Appearance:
    return _dressed(seed, spec.pid, spec.outfit, spec.wardrobe)


@lru_cache(maxsize=64)
def _dressed(seed: int, pid: int, number: int, wardrobe: int) -> Appearance:
    return dressed(person(seed, pid), outfit(seed, pid, number, wardrobe))


def _lights(place: Scene) -> Lights:
    x, y, z = place.light.tolist()
    sun, sky, ground = 1.1 * (1 - place.ambient), place.ambient, 0.55 * place.ambient
    return Lights(direction=(x, y, z), colour=(sun, sun, sun), sky=(sky, sky, sky), ground=(ground, ground, ground))
