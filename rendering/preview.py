"""Contact sheets: people of a split, one a row; people in all their outfits; bodies along each axis of shape.

What: each function renders a few images and lays them out. Why: a benchmark that nobody looks at is wrong in ways that
no figure shows. Source: design of this project. Trade-off: they render what they show, so they need no data set and
show no compression.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import UInt8

from resight.rendering.bodies import DEFAULT_BODY, find_body
from resight.rendering.body import NUM_BETAS, Body
from resight.rendering.camera import look_at
from resight.rendering.dressing import moulded
from resight.rendering.picture import before_paper, picture
from resight.rendering.poses import standing
from resight.rendering.renderers import Draw
from resight.rendering.shading import Lights, render
from resight.rendering.skinning import rest_vertices
from resight.rendering.splits import Group, Staging, find_split
from resight.rendering.stance import fitted
from resight.rendering.styles import develop, neutral
from resight.rendering.surroundings import set_down
from resight.rendering.world import ImageSpec, find_world, identities, images

__all__ = ["contact_sheet", "people_sheet", "shape_sheet"]

_FIRST_SHOWN: Final = 950_000
"""Identities of the sheet of people: nobody in any split."""


def contact_sheet(
    world: str,
    *,
    seed: int,
    split: str,
    groups: tuple[Group, ...] = ("train", "unlabelled", "query", "gallery"),
    people: int = 8,
    per_row: int = 24,
    body: Body | None = None,
    draw: Draw = render,
) -> UInt8[np.ndarray, "h w 3"]:
    """Render the first identities of some groups side by side, one row for the first of each, one for the second, ...

    Args:
        world: its name.
        seed: the world's.
        split: one of `rendering.splits.SPLITS`.
        groups: from left to right; the images of a row are shared out among them.
        people: rows, at most.
        per_row: images in a row, at most; of each group spread evenly over outfits, cameras and frames.
        body: that is posed; the built-in one by default.
        draw: the renderer.

    Returns:
        (rows x height, images x width, 3) sRGB.
    """
    size, chosen = find_world(world), find_body(DEFAULT_BODY) if body is None else body
    present: list[Group] = [group for group in groups if group in find_split(split).groups]
    rows: list[np.ndarray] = []
    for number in range(min(people, *(len(identities(size, split, group)) for group in present))):
        specs: list[ImageSpec] = []
        for group in present:
            mine = list(images(size, split, group, identities(size, split, group)[number]))
            count = min(len(mine), per_row // len(present))
            specs += [mine[place * len(mine) // count] for place in range(count)]
        rows.append(np.hstack([picture(chosen, seed, spec, draw).image for spec in specs]))
    return np.vstack(rows)


def people_sheet(
    seed: int, *, people: int = 8, outfits: int = 4, cameras: int = 6, body: Body | None = None, draw: Draw = render
) -> UInt8[np.ndarray, "h w 3"]:
    """Render people, one a row, in each of their outfits before each of the cameras, at 128 x 64.

    Args:
        seed: the world's.
        people: rows.
        outfits: of each, side by side.
        cameras: for each outfit.
        body: that is posed; the built-in one by default.
        draw: the renderer.
    """
    chosen = find_body(DEFAULT_BODY) if body is None else body
    plain = ImageSpec(
        pid=0, outfit=0, wardrobe=outfits, camera=0, frame=0, height=128, width=64, staging=Staging(extras=True)
    )
    rows: list[np.ndarray] = []
    for pid in range(_FIRST_SHOWN, _FIRST_SHOWN + people):
        shown = [(outfit, camera) for outfit in range(outfits) for camera in range(cameras)]
        specs = [replace(plain, pid=pid, outfit=outfit, camera=camera) for outfit, camera in shown]
        rows.append(np.hstack([picture(chosen, seed, spec, draw).image for spec in specs]))
    return np.vstack(rows)


def shape_sheet(
    body: Body, *, steps: tuple[float, ...] = (-2, -1, 0, 1, 2), height: int = 192, draw: Draw = render
) -> UInt8[np.ndarray, "h w 3"]:
    """Render the body in clay, one row a step, one column an axis of shape, from the front and from the side.

    Args:
        body: with 10 axes.
        steps: values of the axis, standard deviations; all others are 0.
        height: of each picture, pixels; all at the same scale.
        draw: the renderer.
    """
    rows = [
        np.hstack([_clay(body, axis, step, turn, height, draw) for axis in range(NUM_BETAS) for turn in (0.0, 1.2)])
        for step in steps
    ]
    return np.vstack(rows)


def _clay(body: Body, axis: int, step: float, turn: float, height: int, draw: Draw) -> UInt8[np.ndarray, "h w 3"]:
    betas = np.zeros(NUM_BETAS, np.float32)
    betas[axis] = step
    vertices, _ = set_down(body, betas, fitted(body, standing(heading=turn)), np.zeros(2))
    camera = look_at((0.0, 1.1, 8.0), (0.0, 0.96, 0.0), focal=4.0 * height, height=height, width=height // 12 * 5)
    frame = draw(vertices, rest_vertices(body, betas), body, moulded(), camera, Lights())
    return develop(before_paper(frame), neutral(0), gain=1.0, noise_key=0)
