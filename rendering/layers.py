"""Several pictures of the same camera laid over one another by depth.

What: `merge` puts two frames into one, pixel by pixel the nearer before the farther; `behind` says what is left of a
person behind things. Why: bodies, bags and occluders are rendered one by one, each with its own mesh and material, and
belong into one picture with one truth about who hides whom. Source: alpha compositing, Porter and Duff 1984, with depth
after Duff 1985. Trade-off: one depth a pixel, so that two edges that cross inside a pixel mix as if they did not.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from resight.rendering.shading import Frame

__all__ = ["behind", "hidden_share", "merge"]


def merge(one: Frame, other: Frame) -> Frame:
    """Return both in one frame.

    Mask and parts are those of whatever covers most of a pixel of which at least half is covered; depth is the
    nearest, infinite where there is nothing.
    """
    first = one.depth <= other.depth
    near_alpha, far_alpha = np.where(first, one.alpha, other.alpha), np.where(first, other.alpha, one.alpha)
    left = (1 - near_alpha) * far_alpha
    near_rgb = np.where(first[..., None], one.rgb, other.rgb)
    far_rgb = np.where(first[..., None], other.rgb, one.rgb)
    alpha = near_alpha + left
    mask = np.where(alpha >= 0.5, 255, 0).astype(np.uint8)
    near_part, far_part = np.where(first, one.part, other.part), np.where(first, other.part, one.part)
    part = np.where((near_part > 0) & ((near_alpha >= left) | (far_part == 0)), near_part, far_part)
    mask[part == 0] = 0  # two slivers of different things make no part
    return Frame(
        rgb=(near_rgb + (1 - near_alpha)[..., None] * far_rgb).astype(np.float32),
        alpha=alpha.astype(np.float32),
        mask=mask,
        part=np.where(mask > 0, part, 0).astype(np.uint8),
        depth=np.minimum(one.depth, other.depth),
        normal=np.where(first[..., None], one.normal, other.normal),
    )


def behind(person: Frame, things: Frame) -> Frame:
    """Return what the camera sees of a person and of things that are no part of any person.

    The picture and the depth are those of both; mask and parts are the person's where at least half of a pixel still
    shows the person, so a part is never invented and a mask never larger than the whole person's.
    """
    both = merge(person, things)
    covered = np.where(things.depth < person.depth, things.alpha, 0)
    visible = (1 - covered) * person.alpha >= 0.5
    seen = np.where(visible, person.mask, 0).astype(np.uint8)
    return replace(both, mask=seen, part=np.where(seen > 0, person.part, 0).astype(np.uint8))


def hidden_share(amodal: UInt8[np.ndarray, "h w"], mask: UInt8[np.ndarray, "h w"]) -> float:
    """Return the share of a person's pixels that something hides, 0 for nobody."""
    whole = int((amodal > 0).sum())
    return 1 - int((mask > 0).sum()) / whole if whole else 0.0
