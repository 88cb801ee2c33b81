"""What stands between the camera and a person: posts, pillars, walls, boxes, signs, other people.

What: `occlude` draws, for one image, whether anything hides the person, how much of it, and what; it then sets things
down on the floor so that they do. Why: how much is hidden is the axis along which occlusion is studied, so it is aimed
at and not left to chance; and the thing is a thing, on the floor, nearer than the person, in the scene's light and
with a shadow. Source: kinds as people are hidden in Occluded-Duke, Miao et al. 2019. Trade-off: sizes follow from what
shall be hidden, so a wall may be lower or higher than walls are.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from resight.rendering.appearance import material
from resight.rendering.camera import Camera
from resight.rendering.draws import stream
from resight.rendering.solids import Solid, place
from resight.rendering.world import ImageSpec

__all__ = ["Hiding", "hiding", "occluder_solids", "overlap_shift"]

Kind = Literal["post", "pillar", "wall", "crate", "sign", "person"]

_SHARES: Final[dict[Kind, float]] = {
    "post": 0.12, "pillar": 0.2, "wall": 0.16, "crate": 0.16, "sign": 0.1, "person": 0.26
}  # fmt: skip

_STANDS_OFF: Final = 0.45
"""Metres that the back of a thing stays before the person, at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hiding:
    """What hides the person in one image.

    Attributes:
        kind: of thing.
        target: share of the person that it shall hide.
        side: -1 or 1: from which side of the picture.
        ways: (8,) uniform in [0, 1): everything else about it.
        number: names patterns and passers-by.
        look: of the thing, a row of the material table.
    """

    kind: Kind
    target: float
    side: int
    ways: Float64[np.ndarray, "8"]
    number: int
    look: Float32[np.ndarray, "16"]


def hiding(seed: int, spec: ImageSpec) -> Hiding | None:
    """Draw what hides the person in an image; None in the open."""
    staging = spec.staging
    if staging.occluded == 0:
        return None
    draws = stream(seed, "hiding", spec.pid, spec.outfit, spec.camera, spec.frame)
    if draws.random() >= staging.occluded:
        return None
    kinds, shares = list(_SHARES), np.array(list(_SHARES.values()))
    kind = kinds[int(draws.choice(len(kinds), p=shares / shares.sum()))]
    target = staging.least + (staging.most - staging.least) * draws.random()
    side, ways, number = int(draws.choice((-1, 1))), draws.random(8), int(draws.integers(2**20))
    target = min(target, 0.35) if kind == "post" else target
    return Hiding(kind=kind, target=target, side=side, ways=ways, number=number, look=_look(draws, number))


def occluder_solids(what: Hiding, camera: Camera, amodal: UInt8[np.ndarray, "h w"], distance: float) -> list[Solid]:
    """Return the things, none for a passer-by.

    Args:
        what: drawn.
        camera: of the crop, level with the floor's axes x and z.
        amodal: the whole person's mask.
        distance: of the person along z, metres.
    """
    if what.kind == "person":
        return []
    back = distance - _STANDS_OFF - 0.8 * what.ways[0]
    if what.kind == "post":
        return _post(what, camera, amodal, back)
    if what.kind == "pillar":
        return _pillar(what, camera, amodal, back)
    if what.kind == "sign":
        return _sign(what, camera, amodal, back)
    return _low(what, camera, amodal, back)


def _look(draws: np.random.Generator, number: int) -> Float32[np.ndarray, "16"]:
    colour = np.exp(draws.uniform(-2.4, -0.6)) * np.exp(draws.uniform(-0.25, 0.25, 3))
    second = colour * np.exp(draws.uniform(-0.8, 0.8))
    kind = str(draws.choice(["plain", "plain", "stripes", "checks"]))
    return material(
        kind,
        _rgb(colour),
        second=_rgb(second),
        scale=float(draws.uniform(1.5, 5)),
        angle=float(draws.choice([0.0, np.pi / 2])),
        duty=float(draws.uniform(0.1, 0.5)),
        seed=number,
        mottle=0.25,
    )


def _rgb(colour: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(colour, 0.02, 0.9).tolist()
    return (red, green, blue)


def _post(what: Hiding, camera: Camera, amodal: np.ndarray, back: float) -> list[Solid]:
    """A thin thing before the middle: as wide as it takes to hide its share of the columns."""
    columns = _cumulated(amodal, axis=0)
    start = (1 - what.target) * (0.2 + 0.6 * what.ways[1])
    left, right = _quantile(columns, start), _quantile(columns, start + what.target)
    middle = _point(camera, 0.5 * (left + right), camera.height / 2, back)
    width = abs(_point(camera, right, camera.height / 2, back)[0] - _point(camera, left, camera.height / 2, back)[0])
    tall = 2.4 + 1.4 * what.ways[2]
    centre = np.array([middle[0], tall / 2, back - width / 2])
    shape = "post" if what.ways[3] < 0.6 else "box"
    return [place(shape, centre=centre, size=(width, tall, width), look=what.look)]


def _pillar(what: Hiding, camera: Camera, amodal: np.ndarray, back: float) -> list[Solid]:
    """Something tall from one side of the picture: a pillar, the end of a wall, a parked lorry."""
    columns = _cumulated(amodal, axis=0)
    inner = _quantile(columns, what.target if what.side < 0 else 1 - what.target)
    outer = -0.6 * camera.width if what.side < 0 else 1.6 * camera.width
    edge, end = (_point(camera, column, camera.height / 2, back)[0] for column in (inner, outer))
    tall, deep = 2.6 + 1.5 * what.ways[2], 0.2 + 0.5 * what.ways[3]
    centre = np.array([(edge + end) / 2, tall / 2, back - deep / 2])
    return [place("box", centre=centre, size=(abs(end - edge), tall, deep), look=what.look)]


def _sign(what: Hiding, camera: Camera, amodal: np.ndarray, back: float) -> list[Solid]:
    """A board at head height, on a post of its own."""
    low = _quantile(_cumulated(amodal, axis=1), what.target)
    middle = 0.5 * camera.width * (1 + 0.3 * (2 * what.ways[1] - 1))
    bottom = max(_point(camera, middle, low, back)[1], 0.5)
    x, width, tall = _point(camera, middle, low, back)[0], 1.0 + 0.6 * what.ways[2], 1.3
    board = place("box", centre=np.array([x, bottom + tall / 2, back]), size=(width, tall, 0.05), look=what.look)
    side = x + 0.38 * what.side * width
    grey = material("plain", (0.2, 0.2, 0.2))
    pole = place("post", centre=np.array([side, bottom / 2, back]), size=(0.07, bottom, 0.07), look=grey)
    return [board, pole]


def _low(what: Hiding, camera: Camera, amodal: np.ndarray, back: float) -> list[Solid]:
    """Something low that hides the legs: a wall across the picture, or a crate or car that ends inside it."""
    top = _quantile(_cumulated(amodal, axis=1), 1 - what.target)
    deep = 0.2 if what.kind == "wall" else 0.5 + 0.6 * what.ways[1]
    tall = max(_point(camera, camera.width / 2, top, back)[1], 0.1)
    columns = np.nonzero(amodal.any(0))[0]
    reach = 1.2 if what.kind == "wall" else 0.12 + 0.2 * what.ways[2]
    left, right = columns[0] - reach * camera.width, columns[-1] + 1 + reach * camera.width
    first, last = (_point(camera, column, top, back)[0] for column in (left, right))
    centre = np.array([(first + last) / 2, tall / 2, back - deep / 2])
    return [place("box", centre=centre, size=(abs(last - first), tall, deep), look=what.look)]


def _point(camera: Camera, column: float, row: float, distance: float) -> Float64[np.ndarray, "3"]:
    """Return where the ray through a place in the picture meets the upright plane z = `distance`."""
    across = (column - camera.principal[0]) / camera.focal[0]
    down = (row - camera.principal[1]) / camera.focal[1]
    ray = np.array([across, down, 1.0]) @ np.asarray(camera.rotation, np.float64)
    return camera.position + ray * ((distance - camera.position[2]) / ray[2])


def _cumulated(amodal: np.ndarray, axis: int) -> Float64[np.ndarray, "n"]:
    """Return the share of the mask in the first 0, 1, ... columns (axis 0) or rows (axis 1)."""
    counts = (amodal > 0).sum(axis)
    return np.concatenate([[0.0], np.cumsum(counts)]) / max(int(counts.sum()), 1)


def _quantile(cumulated: np.ndarray, share: float) -> float:
    return float(np.interp(share, cumulated, np.arange(len(cumulated))))


def overlap_shift(amodal: UInt8[np.ndarray, "h w"], other: UInt8[np.ndarray, "h w"], target: float, side: int) -> int:
    """Return by how many columns another mask must move to hide a share of a person, coming from one side.

    Args:
        amodal: the person.
        other: what shall stand before it, centred on it.
        target: share to hide.
        side: -1 to move left, 1 to move right.
    """
    person, width = amodal > 0, amodal.shape[1]
    whole = max(int(person.sum()), 1)
    best, found = 0, 2.0
    for step in range(width):
        moved = np.zeros_like(person)
        shifted = other > 0
        if side > 0:
            moved[:, step:] = shifted[:, : width - step]
        else:
            moved[:, : width - step] = shifted[:, step:]
        wrong = abs(int((moved & person).sum()) / whole - target)
        if wrong < found:
            best, found = side * step, wrong
    return best
