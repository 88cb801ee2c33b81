"""Where a camera hangs and what it sees when nobody is there.

What: `scene(seed, camera)` draws a place (floor, walls, boxes, light), a camera above it and the strip people walk
through; `backdrop` is its empty picture, ray-cast once a process. A crop's background is a window of that one
picture, so the background is a cue for the camera and none for the person. Why: the pixels behind a person must be
consistent with a real, fixed camera: perspective, horizon, light. Source: design of this project; primary rays
against a plane and axis-aligned boxes by the slab test, Kay and Kajiya 1986. Trade-off: no shadows between objects,
no reflections; the person's own shadow is a soft ellipse on the floor (`shade`).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64

from resight.rendering.draws import stream
from resight.rendering.raycast import cast
from resight.rendering.splits import CameraKind
from resight.rendering.world import camera_kind

__all__ = ["FRAME", "Scene", "backdrop", "scene"]

FRAME: Final = (480, 640)
"""Height x width in pixels of the whole picture that crops are cut from."""

SUBJECT: Final = 0.95
"""Height above the floor, metres, of the point the camera is aimed at."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One camera's place. World: y up, metres, floor at y = 0, the camera above the origin looking along +z and down.

    Attributes:
        camera: its number.
        height: of the camera above the floor, metres.
        pitch: downwards, radians.
        focal: pixels, for a picture of `FRAME`.
        near: distance along z where people walk, nearest, metres.
        far: the same, furthest.
        half_width: people walk within this of x = 0 at the nearest distance, metres; wider further off.
        flow: the way most people walk, radians about y from +z towards +x; half go the opposite way.
        light: (3,) float32 unit vector towards the lamp or sun.
        ambient: share of the light that comes from everywhere.
        yaw: of the walls against the camera, radians.
        room: (3,) walls at x = +-room[0], z = +-room[1] in the room's own axes, room[2] high, metres.
        surfaces: (3, 10) float32: floor, wall and ceiling or sky, as `raycast.cast` takes them.
        boxes: (n, 9) float32: centre x, z, half sizes x, y, z, linear red, green, blue, elevation.
        texture: names the noise of all surfaces.
    """

    camera: int
    height: float
    pitch: float
    focal: float
    near: float
    far: float
    half_width: float
    flow: float
    light: Float32[np.ndarray, "3"]
    ambient: float
    yaw: float
    room: Float32[np.ndarray, "3"]
    surfaces: Float32[np.ndarray, "3 10"]
    boxes: Float32[np.ndarray, "n 9"]
    texture: int

    @property
    def position(self) -> Float64[np.ndarray, "3"]:
        """The camera's centre."""
        return np.array([0.0, self.height, 0.0])

    @property
    def axes(self) -> Float64[np.ndarray, "3 3"]:
        """Rows: the camera's right, down and forward in the world."""
        sine, cosine = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([[-1.0, 0.0, 0.0], [0.0, -cosine, -sine], [0.0, -sine, cosine]])


_HANGS: Final[dict[CameraKind, tuple[tuple[float, float], tuple[float, float]]]] = {
    "usual": ((2.3, 4.2), (6.5, 9.0)),
    "foreign": ((4.6, 6.4), (6.0, 7.5)),
    "coarse": ((2.8, 4.6), (6.5, 9.0)),
}
"""Metres above the floor, and to where it is aimed: foreign cameras look down on people."""


@lru_cache(maxsize=64)
def scene(seed: int, camera: int) -> Scene:
    """Draw the place of camera `camera`."""
    draws = stream(seed, "scene", camera)
    heights, distances = _HANGS[camera_kind(camera)]
    height, distance = draws.uniform(*heights), draws.uniform(*distances)
    near, far, half_width = 0.85 * distance, 1.2 * distance, 0.16 * distance
    yaw = draws.uniform(-0.6, 0.6)
    room = np.array([draws.uniform(7, 15), draws.uniform(14, 24), draws.uniform(3, 9)])
    return Scene(
        camera=camera,
        height=height,
        pitch=float(np.arctan2(height - SUBJECT, distance)),
        focal=draws.uniform(80, 95) * distance,
        near=near,
        far=far,
        half_width=half_width,
        flow=float((camera * np.pi / 4 + draws.uniform(-0.3, 0.3)) % np.pi),
        light=_light(draws),
        ambient=draws.uniform(0.4, 0.65),
        yaw=yaw,
        room=room.astype(np.float32),
        surfaces=_surfaces(draws),
        boxes=_boxes(draws, near, far, half_width, yaw, room),
        texture=int(draws.integers(2**31)),
    )


@lru_cache(maxsize=32)
def backdrop(seed: int, camera: int, detail: int = 1) -> Float32[np.ndarray, "h w 3"]:
    """Return the camera's empty picture in linear light, of `detail` times the size `FRAME`."""
    place = scene(seed, camera)
    picture = np.empty((FRAME[0] * detail, FRAME[1] * detail, 3), np.float32)
    sine, cosine = np.sin(place.yaw), np.cos(place.yaw)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    cast(
        (turn @ place.position).astype(np.float32),
        (place.axes @ turn.T).astype(np.float32),
        np.float32(place.focal * detail),
        place.room,
        place.surfaces,
        place.boxes,
        (turn @ place.light).astype(np.float32),
        np.float32(place.ambient),
        place.texture,
        picture,
    )
    picture.setflags(write=False)
    return picture


def _light(draws: np.random.Generator) -> Float32[np.ndarray, "3"]:
    azimuth, elevation = draws.uniform(0, 2 * np.pi), draws.uniform(0.7, 1.3)
    level = np.cos(elevation)
    return np.array([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)], np.float32)


def _surfaces(draws: np.random.Generator) -> Float32[np.ndarray, "3 10"]:
    """Draw ground and second colour (linear), tile size x, y in metres, strength of the noise, share of the ground."""
    rows: list[list[float]] = []
    for brightness, tile in ((0.25, draws.uniform(0.4, 1.6)), (0.35, draws.uniform(1.2, 3.5)), (0.6, 4.0)):
        level = brightness * np.exp(draws.uniform(-0.7, 0.5))
        first = level * np.exp(draws.uniform(-0.18, 0.18, 3))
        second = first * np.exp(draws.uniform(-0.9, 0.5)) * np.exp(draws.uniform(-0.15, 0.15, 3))
        rows.append(
            [*first, *second, tile, tile * draws.uniform(0.5, 1.5), draws.uniform(0.1, 0.4), draws.uniform(0.3, 0.9)]
        )
    return np.clip(np.array(rows), 0.01, 3.0).astype(np.float32)


def _boxes(
    draws: np.random.Generator, near: float, far: float, half_width: float, yaw: float, room: np.ndarray
) -> Float32[np.ndarray, "n 9"]:
    """Draw furniture, pillars and vehicles that stand clear of the strip where people walk."""
    rows: list[list[float]] = []
    sine, cosine = np.sin(yaw), np.cos(yaw)
    for _ in range(int(draws.integers(10, 22))):
        side, depth = draws.choice((-1.0, 1.0)), draws.uniform(near, room[1] * 0.9)
        clear = half_width * (depth / near) + 1.2 if depth < far + 2 else 0.0
        x = side * (clear + draws.uniform(0.2, 4.0))
        size = np.array(_SIZES[draws.integers(len(_SIZES))]) * np.exp(draws.uniform(-0.3, 0.3, 3))
        x += side * (float(np.hypot(size[0], size[2])) if clear else 0.0)
        colour = np.exp(draws.uniform(-2.6, -0.5)) * np.exp(draws.uniform(-0.5, 0.5, 3))
        rows.append(
            [cosine * x - sine * depth, sine * x + cosine * depth, *size, *colour, draws.choice((0.0, 0.0, 0.0, 1.2))]
        )
    return np.array(rows, np.float32)


_SIZES: Final = (
    (0.9, 0.25, 0.3),
    (0.15, 1.6, 0.15),
    (2.0, 0.75, 0.9),
    (0.4, 0.5, 0.4),
    (0.5, 1.0, 0.5),
    (1.2, 1.2, 0.2),
)
"""Half sizes in metres: bench, pillar, car, crate, machine, hoarding."""
