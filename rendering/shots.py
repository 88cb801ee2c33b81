"""One moment before a camera: where the person is, which way it goes, in which phase of its step, how it is framed.

What: `shot(seed, spec)` draws everything about an image that is not the person, the clothes or the camera. Why: pose
and viewpoint are the nuisance that re-identification has to see through, so they are drawn anew for every frame and
kept apart from the cues. Source: design of this project; viewpoints by quarters as in Sun and Zheng 2019 (PersonX).
Trade-off: frames of one camera are independent moments and not a video.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from resight.rendering.draws import stream
from resight.rendering.scenes import Scene
from resight.rendering.world import ImageSpec

__all__ = ["VIEWS", "Shot", "shot", "view"]

VIEWS: Final = ("front", "left", "back", "right")
"""Which side of the person the camera sees; the position in this tuple is a record's `viewid`."""


@dataclass(frozen=True, kw_only=True)
class _Manner:
    """How moments are taken.

    Attributes:
        standing: share of the moments in which the person stands.
        wobble: standard deviation of the heading, radians.
        fill: least and most of the crop's height that the person takes.
        shift: (x, y) standard deviations of the window's place, in shares of the window.
        light: standard deviation of the logarithm of the light.
    """

    standing: float
    wobble: float
    fill: tuple[float, float]
    shift: tuple[float, float]
    light: float


_STREET: Final = _Manner(standing=0.15, wobble=0.4, fill=(0.72, 0.98), shift=(0.05, 0.025), light=0.12)
"""People go one way or the other; a detector draws the boxes."""

_STUDIO: Final = _Manner(standing=0.5, wobble=0.15, fill=(0.9, 0.94), shift=(0.01, 0.006), light=0.06)
"""People show all four sides to every camera; boxes are drawn with care."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One moment.

    Attributes:
        place: (2,) x and z on the floor, metres.
        heading: the way the person faces, radians about y from +z towards +x.
        standing: whether the person stands rather than walks.
        phase: of the step, in [0, 1).
        look: (2,) turn and nod of the head, radians.
        fill: share of the crop's height that the person takes.
        shift: (2,) how far the window is off the person, in shares of the window.
        gain: factor on the light of this moment.
        noise_key: names the noise of this image.
    """

    place: Float[np.ndarray, "2"]
    heading: float
    standing: bool
    phase: float
    look: Float[np.ndarray, "2"]
    fill: float
    shift: Float[np.ndarray, "2"]
    gain: float
    noise_key: int


def shot(seed: int, spec: ImageSpec, place: Scene) -> Shot:
    """Draw the moment of one image."""
    draws = stream(seed, "shot", spec.pid, spec.outfit, spec.camera, spec.frame)
    uniform, normal = draws.random(8), draws.standard_normal(6)
    studio = spec.staging.bare
    manner = _STUDIO if studio else _STREET
    towards = np.pi / 2 * np.floor(4 * uniform[2]) if studio else place.flow + np.pi * (uniform[2] < 0.5)
    least, most = manner.fill
    depth = place.near + (place.far - place.near) * uniform[0]
    side = place.half_width * (depth / place.near) * (2 * uniform[1] - 1)
    return Shot(
        place=np.array([side, depth]),
        heading=float(towards + manner.wobble * normal[0]),
        standing=bool(uniform[3] < manner.standing),
        phase=float(uniform[4]),
        look=np.array([0.22, 0.1]) * normal[1:3],
        fill=float(least + (most - least) * uniform[5]),
        shift=np.array(manner.shift) * normal[3:5],
        gain=float(np.exp(manner.light * normal[5])),
        noise_key=int(draws.integers(2**62)),
    )


def view(moment: Shot) -> int:
    """Return which of `VIEWS` the camera, at the origin, sees of the person."""
    to_camera = np.arctan2(-moment.place[0], -moment.place[1])
    turn = (to_camera - moment.heading) % (2 * np.pi)  # of the camera, seen from the person, towards its left side
    return int(np.floor(turn / (np.pi / 2) + 0.5)) % 4
