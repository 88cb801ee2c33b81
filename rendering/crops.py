"""From a whole camera picture to one crop: the box a detector would have drawn, and what stands behind the person.

What: `crop_box` frames the projected body with a detector's slack; `compose` cuts that window out of the camera's
empty picture, lays the person's soft shadow on the floor and puts the person in front. Why: after cropping, height in
pixels says almost nothing about height in metres, as in real data, and shape has to be read from proportions. Source:
alpha compositing, Porter and Duff 1984; the slack of detector boxes as described for Market-1501, Zheng et al. 2015.
Trade-off: one factor for both axes, so the aspect of a body is kept where some data sets stretch it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float32
from numba import njit

from resight.rendering.camera import Camera
from resight.rendering.scenes import FRAME, Scene

__all__ = ["Box", "compose", "crop_box", "whole_camera"]


SHADOW: Final = 0.9
"""How much of the directional light a person's shadow takes away."""

FAINT: Final = 7.0
"""Exponent from which on a shadow is left out: below a thousandth."""

_WIDE: Final = 1.01 * 0.24 * FAINT**0.5
_LONG: Final = 1.01 * FAINT**0.25
_ROUND: Final = 1.01 * 0.02 * FAINT
"""Just outside of where the exponents reach that: across and along an ellipse, and the square of it round a foot."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A window of the whole picture, in its pixels.

    Attributes:
        left: of the window.
        top: of the window.
        scale: pixels of the whole picture for one pixel of the crop.
    """

    left: float
    top: float
    scale: float


def crop_box(
    points: Float[np.ndarray, "n 2"], height: int, width: int, *, fill: float, shift: Float[np.ndarray, "2"]
) -> Box:
    """Frame a projected body.

    Args:
        points: x, y of its surface in the whole picture.
        height: of the crop, pixels.
        width: of the crop, pixels.
        fill: share of the crop's height that the body takes (of its width, for a body that is wide).
        shift: how far the window's centre is off the body's, in shares of the window.
    """
    columns = points[:, 0].copy(), points[:, 1].copy()  # reductions along an axis of two are many times slower
    low = np.array([column.min() for column in columns])
    high = np.array([column.max() for column in columns])
    tall = max((high[1] - low[1]) / fill, (high[0] - low[0]) / fill * height / width)
    scale = tall / height
    middle = (low + high) / 2 + shift * np.array([width, height]) * scale
    return Box(left=float(middle[0] - width * scale / 2), top=float(middle[1] - tall / 2), scale=float(scale))


def whole_camera(place: Scene) -> Camera:
    """Return the camera that takes the whole picture, of size `FRAME`."""
    height, width = FRAME
    return Camera(
        position=place.position,
        rotation=place.axes,
        focal=(place.focal, place.focal),
        principal=(width / 2, height / 2),
        height=height,
        width=width,
    )


def compose(
    picture: Float32[np.ndarray, "h w 3"],
    box: Box,
    place: Scene,
    feet: Float[np.ndarray, "*casters 2 3"],
    rgb: Float32[np.ndarray, "height width 3"],
    alpha: Float32[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width 3"]:
    """Put the person before the window of the empty picture, darkened by the person's shadow.

    Args:
        picture: the camera's empty picture, linear, of size `FRAME` or a multiple of it.
        box: the window, in pixels of `FRAME`.
        place: the camera and its light.
        feet: where each pair of feet touches the floor, metres; of one person, or of everybody who casts a shadow.
        rgb: the rendered person, linear, premultiplied by `alpha`.
        alpha: coverage in [0, 1].

    Returns:
        The crop, linear.
    """
    detail = picture.shape[0] / FRAME[0]
    geometry = np.array([place.height, place.focal * detail, place.pitch], np.float64)
    out = np.empty_like(rgb)
    light = place.light.astype(np.float64)
    strength = SHADOW * (1 - place.ambient)
    _compose(
        picture,
        box.left * detail,
        box.top * detail,
        box.scale * detail,
        geometry,
        light,
        strength,
        np.ascontiguousarray(feet, np.float64).reshape(-1, 2, 3),
        rgb,
        alpha,
        out,
    )
    return out


@njit(cache=True, nogil=True)
def _compose(
    picture: np.ndarray,
    left: float,
    top: float,
    scale: float,
    geometry: np.ndarray,
    light: np.ndarray,
    strength: float,
    feet: np.ndarray,
    rgb: np.ndarray,
    alpha: np.ndarray,
    out: np.ndarray,
) -> None:
    high, wide = picture.shape[0], picture.shape[1]
    flat = picture.reshape(high, wide * 3)
    sine, cosine = np.sin(geometry[2]), np.cos(geometry[2])
    spots = _spots(light, feet)
    near = np.empty(feet.shape[0], np.bool_)
    place, share, side = _columns(left, scale, out.shape[1], wide)
    for i in range(out.shape[0]):
        y = top + (i + 0.5) * scale
        down = (y - 0.5 * high) / geometry[1]
        fall = cosine * down + sine  # of the ray, metres a metre forward
        fy = min(max(y - 0.5, 0.0), high - 1.001)
        row, b = int(fy), np.float32(fy - int(fy))
        upper, lower, rest = flat[row], flat[row + 1], 1 - b
        far = geometry[0] / fall if fall > 0.02 else 0.0
        floor_z = far * (cosine - sine * down)
        first, last = np.inf, -np.inf  # between which x there may be shadow
        for caster in range(feet.shape[0]):
            near[caster] = fall > 0.02 and abs(floor_z - spots[caster, 3]) < spots[caster, 5]
            if near[caster]:
                middle, reach = -spots[caster, 2] * geometry[1] / far, 1.01 * spots[caster, 5] * geometry[1] / far
                first, last = min(first, middle - reach), max(last, middle + reach)
        for j in range(out.shape[1]):
            behind = np.float32(1) - alpha[i, j]
            if behind == np.float32(0):
                for c in range(3):
                    out[i, j, c] = rgb[i, j, c]
                continue
            shade = 1.0
            if first < side[j] < last:
                floor_x = -far * side[j] / geometry[1]
                for caster in range(feet.shape[0]):
                    if near[caster] and abs(floor_x - spots[caster, 2]) < spots[caster, 5]:
                        shade *= _shadow(floor_x, floor_z, caster, spots, strength, feet)
            a, start = share[j], place[j]
            own = 1 - a
            for c in range(3):
                here = start + np.uint64(c)
                beside = here + np.uint64(3)
                above = upper[here] * own + upper[beside] * a
                below = lower[here] * own + lower[beside] * a
                out[i, j, c] = rgb[i, j, c] + behind * (above * rest + below * b) * np.float32(shade)


@njit(cache=True, nogil=True)
def _columns(left: float, scale: float, width: int, wide: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, of each column of the crop, the place in a row of the picture, the next pixel's share, and x."""
    place, share, side = np.empty(width, np.uint64), np.empty(width, np.float32), np.empty(width)
    for j in range(width):
        x = left + (j + 0.5) * scale
        fx = min(max(x - 0.5, 0.0), wide - 1.001)
        place[j], share[j], side[j] = 3 * int(fx), np.float32(fx - int(fx)), x - 0.5 * wide
    return place, share, side


@njit(cache=True, nogil=True)
def _spots(light: np.ndarray, feet: np.ndarray) -> np.ndarray:
    """Return what of each caster's shadow is the same for all pixels.

    Columns: direction (x, z) away from the light, middle (x, z) of the ellipse, reach, and a radius about that middle
    outside which nothing is darkened, by the ellipse or about a foot.
    """
    spots = np.empty((feet.shape[0], 6))
    level = max(np.hypot(light[0], light[2]), 1e-6)
    reach = min(1.0, 0.85 * level / max(light[1], 0.2))
    for caster in range(feet.shape[0]):
        mine = feet[caster]
        ux, uz = -light[0] / level, -light[2] / level
        spots[caster, :2] = ux, uz
        spots[caster, 2] = 0.5 * (mine[0, 0] + mine[1, 0]) + reach * ux
        spots[caster, 3] = 0.5 * (mine[0, 2] + mine[1, 2]) + reach * uz
        spots[caster, 4] = reach
        ellipse = FAINT**0.25 * (reach + 0.15) + FAINT**0.5 * 0.24
        apart = np.hypot(mine[0, 0] - mine[1, 0], mine[0, 2] - mine[1, 2])
        spots[caster, 5] = 1.01 * max(ellipse, reach + 0.5 * apart + (0.02 * FAINT) ** 0.5)
    return spots


@njit(cache=True, nogil=True)
def _shadow(x: float, z: float, caster: int, spots: np.ndarray, strength: float, feet: np.ndarray) -> float:
    """Return the share of light left at floor point (x, z): a spot under each foot, an ellipse away from the light."""
    ux, uz, mx, mz, reach = spots[caster, 0], spots[caster, 1], spots[caster, 2], spots[caster, 3], spots[caster, 4]
    along, across = (x - mx) * ux + (z - mz) * uz, (z - mz) * ux - (x - mx) * uz
    left = 1.0
    if abs(across) < _WIDE and abs(along) < _LONG * (reach + 0.15):
        distance = (along / (reach + 0.15)) ** 4 + (across / 0.24) ** 2
        if distance < FAINT:
            left -= strength * np.exp(-distance)
    for foot in range(2):
        squared = (x - feet[caster, foot, 0]) ** 2 + (z - feet[caster, foot, 2]) ** 2
        if squared < _ROUND:
            distance = squared / 0.02
            if distance < FAINT:
                left *= 1.0 - 0.45 * np.exp(-distance)
    return left
