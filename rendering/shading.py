"""From a posed body to an image with its labels: inflate, rasterise, then shade each pixel once a part.

Visibility is found at `supersample` squared samples a pixel, but colour only once for each part a pixel sees, which
gives clean edges for little more than the price of none. Light is linear; the result is premultiplied by coverage, so
`rgb + (1 - alpha) * background` composes it.
Source: Akeley 1993 (multisampling), deferred shading after Deering et al. 1988, half-Lambert after Mitchell et al.
2006.
Trade-off: one directional light with a sky and ground ambient term, and no shadows.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numba import njit

from resight.rendering.appearance import Appearance
from resight.rendering.body import Body, welded_faces
from resight.rendering.camera import Camera
from resight.rendering.garments import close_seams, normals
from resight.rendering.rasteriser import rasterise
from resight.rendering.resolve import Film, resolve, vertex_table
from resight.rendering.worn import PosedCloth, posed_cloth, worn_looks

__all__ = ["Frame", "Lights", "render", "shade"]


@dataclass(frozen=True, kw_only=True)
class Lights:
    """Light of a scene, linear RGB, 1 being what turns a white surface into white.

    Attributes:
        direction: towards the light, in the world; any length.
        colour: of the directional light.
        sky: of the ambient light from above.
        ground: of the ambient light from below.
        wrap: 0 Lambert, 1 light that reaches all the way round.
    """

    direction: tuple[float, float, float] = (0.4, 0.8, 0.6)
    colour: tuple[float, float, float] = (0.75, 0.73, 0.70)
    sky: tuple[float, float, float] = (0.38, 0.40, 0.44)
    ground: tuple[float, float, float] = (0.20, 0.19, 0.18)
    wrap: float = 0.35


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What the camera sees of one body; all (H, W).

    Attributes:
        rgb: (H, W, 3) linear light, >= 0, premultiplied by `alpha`.
        alpha: coverage in [0, 1].
        mask: 255 where at least half of the pixel is covered, else 0.
        part: part id 1..17 of the part that covers most of a masked pixel, else 0.
        depth: metres along the viewing axis of the nearest sample; infinite where alpha is 0.
        normal: (H, W, 3) unit normal in the world where alpha > 0, else 0.
    """

    rgb: Float32[np.ndarray, "h w 3"]
    alpha: Float32[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"]
    part: UInt8[np.ndarray, "h w"]
    depth: Float32[np.ndarray, "h w"]
    normal: Float32[np.ndarray, "h w 3"]


def render(
    vertices: Float32[np.ndarray, "v 3"],
    rest: Float32[np.ndarray, "v 3"],
    body: Body,
    appearance: Appearance,
    camera: Camera,
    lights: Lights,
    *,
    supersample: int = 2,
) -> Frame:
    """Draw one body; a pure function with the same bytes on every machine.

    Args:
        vertices: posed, metres in the world.
        rest: the same vertices shaped but not posed (`skinning.rest_vertices`): the space of patterns.
        body: faces, parts and `along`.
        appearance: what each part wears.
        camera: where from, and the size of the image.
        lights: of the scene.
        supersample: samples a pixel and axis, 1 to 4.
    """
    if not 1 <= supersample <= 4:
        raise ValueError(f"supersample is {supersample}, expected 1 to 4")
    cloth = posed_cloth(vertices, body, appearance, camera, supersample)
    size = camera.height * supersample, camera.width * supersample
    samples = rasterise(cloth.screen, cloth.inverse, body.f, cloth.mode, cloth.along, cloth.cut, *size)
    return shade(cloth, samples, rest, body, appearance, camera, lights, supersample)


def shade(
    cloth: PosedCloth,
    samples: Int64[np.ndarray, "sh sw"],
    rest: Float32[np.ndarray, "v 3"],
    body: Body,
    appearance: Appearance,
    camera: Camera,
    lights: Lights,
    supersample: int,
) -> Frame:
    """Make the frame of what a renderer found at every sample.

    Args:
        cloth: the dressed body.
        samples: which face each sample shows, and how near (`samples`).
        rest: see `render`, as all that follows.
        body: faces and parts.
        appearance: what each part wears.
        camera: where from.
        lights: of the scene.
        supersample: samples a pixel and axis.
    """
    worn, frame = worn_looks(appearance), _empty(camera.height, camera.width)
    _fill(
        samples,
        cloth,
        rest,
        _facing(body),
        body.f,
        welded_faces(body),
        body.seams,
        worn.looks,
        worn.cut,
        _light_table(lights),
        np.ascontiguousarray(camera.rotation, np.float64),
        supersample,
        camera.focal[1],
        Film(frame.rgb, frame.alpha, frame.mask, frame.part, frame.depth, frame.normal),
    )
    return frame


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    samples: np.ndarray,
    cloth: PosedCloth,
    rest: np.ndarray,
    facing: np.ndarray,
    faces: np.ndarray,
    welded: np.ndarray,
    seams: np.ndarray,
    looks: np.ndarray,
    cut: np.ndarray,
    lights: np.ndarray,
    rotation: np.ndarray,
    supersample: int,
    focal: float,
    film: Film,
) -> None:
    """Normals, the table of the vertices, and all pixels."""
    upright = _normals(cloth.posed, welded, seams)
    table = vertex_table(cloth.screen, cloth.inverse, upright, rest, facing, cloth.along)
    resolve(samples, table, faces, cloth.keys, looks, cut, _with_gloss(lights, rotation), supersample, focal, film)


@lru_cache(maxsize=32)
def _facing(body: Body) -> np.ndarray:
    """Which way the cloth of each vertex faces: it decides along which axis a pattern is painted."""
    return _normals(body.v_template.astype(np.float64), welded_faces(body), body.seams)


@njit(cache=True, nogil=True, error_model="numpy")
def _normals(vertices: np.ndarray, welded: np.ndarray, seams: np.ndarray) -> np.ndarray:
    """Normals of vertices; both copies on a seam have the whole skin's."""
    out = normals(vertices, welded)
    close_seams(out, seams)
    return out


@lru_cache(maxsize=64)
def _light_table(lights: Lights) -> np.ndarray:
    """Rows: direction, colour, sky, ground, (wrap, 0, 0)."""
    x, y, z = lights.direction
    length = sqrt(x * x + y * y + z * z)
    direction = x / length, y / length, z / length
    return np.array([direction, lights.colour, lights.sky, lights.ground, (lights.wrap, 0.0, 0.0)], np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def _with_gloss(lights: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rows: direction, colour, sky, ground, half vector of the gloss, (wrap, 0, 0)."""
    rows = np.empty((6, 3))
    rows[:4], rows[5] = lights[:4], lights[4]
    x, y, z = (
        lights[0, 0] - rotation[2, 0], lights[0, 1] - rotation[2, 1], lights[0, 2] - rotation[2, 2]
    )  # fmt: skip
    length = max(sqrt(x * x + y * y + z * z), 1e-9)
    rows[4, 0], rows[4, 1], rows[4, 2] = x / length, y / length, z / length
    return rows


def _empty(height: int, width: int) -> Frame:
    return Frame(
        rgb=np.zeros((height, width, 3), np.float32),
        alpha=np.zeros((height, width), np.float32),
        mask=np.zeros((height, width), np.uint8),
        part=np.zeros((height, width), np.uint8),
        depth=np.full((height, width), np.inf, np.float32),
        normal=np.zeros((height, width, 3), np.float32),
    )
