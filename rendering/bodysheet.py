"""One body, dressed, in five poses from four sides: what to look at before a body is used.

Source: own. Trade-off: one outfit and one person's hair; webbing, holes and ragged rims show in it, gait does not.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8

from resight.rendering.activities import carrying, reaching, sitting
from resight.rendering.appearance import Appearance
from resight.rendering.body import Body
from resight.rendering.camera import look_at
from resight.rendering.dressing import dressed
from resight.rendering.outfits import outfit
from resight.rendering.people import person
from resight.rendering.poses import standing, walking
from resight.rendering.shading import Lights, render
from resight.rendering.skinning import rest_vertices, skin_one
from resight.rendering.stance import fitted

__all__ = ["body_sheet", "dressed_view"]

_GREY: Final = 0.45
_SIDES: Final = (0.0, np.pi / 2, np.pi, -0.8)
_WHO: Final = 21
"""A person with hair of middle length, in short sleeves."""


def body_sheet(body: Body, betas: Sequence[float], *, height: int = 320) -> UInt8[np.ndarray, "h w 3"]:
    """Draw walking, standing, sitting, reaching and carrying, a row each.

    Args:
        body: any body with parts.
        betas: ten shape coefficients.
        height: of one picture, pixels; it is half as wide.
    """
    shape = np.asarray(betas, np.float64)
    worn = dressed(person(0, _WHO), outfit(0, _WHO, 0, 1))
    poses = (walking(0.05), standing(shift=0.6), sitting(), reaching(), carrying(0.3))
    rows = [
        np.hstack([dressed_view(body, shape, pose, worn, side, height=height) for side in _SIDES]) for pose in poses
    ]
    return np.vstack(rows)


def dressed_view(
    body: Body,
    betas: np.ndarray,
    pose: Float32[np.ndarray, "24 3"],
    worn: Appearance,
    side: float,
    *,
    height: int,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one picture on grey, from the front (0), the left side (pi / 2) or any angle between."""
    vertices, _ = skin_one(body, betas, fitted(body, pose), np.zeros(3))
    vertices = vertices - np.array([0.0, vertices[:, 1].min(), 0.0], np.float32)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    eye = middle + np.array([8 * np.sin(side), 0.6, 8 * np.cos(side)])
    camera = look_at(eye, middle, focal=3.6 * height, height=height, width=height // 2)
    frame = render(vertices, rest_vertices(body, betas), body, worn, camera, Lights())
    linear = np.clip(frame.rgb + (1 - frame.alpha[..., None]) * _GREY, 0.0, 1.0)
    coded = np.where(linear < 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(coded * 255).astype(np.uint8)
