"""A contact sheet: some people of a world, one a row, their images side by side.

What: `contact_sheet` renders a few identities and lays them out. Why: a benchmark that nobody looks at is wrong in
ways that no figure shows. Source: design of this project. Trade-off: it renders what it shows, so it needs no data set
and shows no compression.
"""

import numpy as np
from jaxtyping import UInt8

from resight.datasets.records import Split
from resight.rendering.capsule import capsule_body
from resight.rendering.picture import picture
from resight.rendering.world import find_world, identities, images

__all__ = ["contact_sheet"]


def contact_sheet(
    world: str, *, seed: int, split: str, part: Split = "train", people: int = 8, per_row: int = 24
) -> UInt8[np.ndarray, "h w 3"]:
    """Render the first identities of a part.

    Args:
        world: its name.
        seed: the world's.
        split: base or clothes.
        part: train, val, query or gallery.
        people: rows, at most.
        per_row: images in a row, at most; ordered by outfit, camera and frame.

    Returns:
        (rows x height, images x width, 3) sRGB.
    """
    size, body = find_world(world), capsule_body()
    rows: list[np.ndarray] = []
    for pid in identities(size, split, part)[:people]:
        specs = list(images(size, split, part, pid))[:per_row]
        rows.append(np.hstack([picture(body, seed, spec).image for spec in specs]))
    return np.vstack(rows)
