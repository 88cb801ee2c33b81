"""Moving masks, key points and maps along with the image they belong to.

Resize, flip and shift are one affine map a row, so labels follow exactly: a mirrored left wrist is a right wrist, and
what leaves the window is not visible. An erased box hides nothing here: it is an occluder put on afterwards, and what
is under it can still be asked for. Coordinates have pixel centres at +0.5, as in records.
Source: design of this project (methods that use key points, masks or heat maps read them through these functions).
Trade-off: maps of a lower resolution are shifted by bilinear sampling, which blurs by up to half a cell.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.draws import Draws
from resight.datasets.records import KEYPOINTS

__all__ = ["MIRRORED", "move_keypoints", "move_maps", "move_masks"]

MIRRORED: Final = np.array(
    [
        KEYPOINTS.index(name.replace("left", "right") if "left" in name else name.replace("right", "left"))
        for name in KEYPOINTS
    ]
)
"""(17,) for each key point the one that stands in its place in a mirror."""


def move_keypoints(
    keypoints: Float32[np.ndarray, "n 17 3"],
    sizes: Sequence[tuple[int, int]],
    draws: Draws,
    config: AugmentConfig,
) -> Float32[np.ndarray, "n 17 3"]:
    """Return key points in the pixels of the augmented images.

    Args:
        keypoints: x, y in the pixels of each stored image, visibility 0, 1 or 2.
        sizes: height and width of each stored image.
        draws: of the images, one row each.
        config: what they were drawn with.
    """
    moved = keypoints.astype(np.float64)
    scale = np.array([(config.width / width, config.height / height) for height, width in sizes]).reshape(-1, 1, 2)
    moved[:, :, :2] *= scale
    moved[draws.flip, :, 0] = config.width - moved[draws.flip, :, 0]
    moved[draws.flip] = moved[draws.flip][:, MIRRORED]
    moved[:, :, 0] -= (draws.left - config.pad)[:, None]
    moved[:, :, 1] -= (draws.top - config.pad)[:, None]
    inside = (moved[:, :, :2] >= 0) & (moved[:, :, :2] < (config.width, config.height))
    moved[:, :, 2] *= inside.all(axis=2)
    return moved.astype(np.float32)


def move_masks(
    masks: Sequence[UInt8[np.ndarray, "_ _"]], draws: Draws, config: AugmentConfig
) -> UInt8[np.ndarray, "n height width"]:
    """Return masks or part labels in the pixels of the augmented images; 0 outside the stored image.

    Values are copied from the nearest pixel and never mixed. Left and right parts of a mirrored part map keep their
    names only if the caller swaps them: part numbers are the renderer's, not known here.
    """
    out = np.zeros((len(masks), config.height, config.width), np.uint8)
    for i, mask in enumerate(masks):
        small = cv2.resize(mask, (config.width, config.height), interpolation=cv2.INTER_NEAREST_EXACT)
        small = small[:, ::-1] if draws.flip[i] else small
        _shift(small, int(draws.top[i]) - config.pad, int(draws.left[i]) - config.pad, out[i])
    return out


def _shift(image: np.ndarray, down: int, right: int, out: np.ndarray) -> None:
    """Copy the part of `image` that a window moved `down` and `right` sees."""
    height, width = image.shape
    y0, y1 = max(0, -down), min(height, height - down)
    x0, x1 = max(0, -right), min(width, width - right)
    if y0 < y1 and x0 < x1:
        out[y0:y1, x0:x1] = image[y0 + down : y1 + down, x0 + right : x1 + right]


def move_maps(
    maps: Float32[np.ndarray, "n c h w"], draws: Draws, config: AugmentConfig, *, mirrored: Sequence[int] | None = None
) -> Float32[np.ndarray, "n c h w"]:
    """Return heat maps of the augmented images, at the maps' own resolution; 0 outside.

    Args:
        maps: one value a cell over the whole stored image, any resolution.
        draws: of the images, one row each.
        config: what they were drawn with.
        mirrored: for each channel the one that takes its place in a mirror, such as MIRRORED; None keeps the order.
    """
    count, channels, height, width = maps.shape
    order = np.arange(channels) if mirrored is None else np.asarray(mirrored)
    out = np.empty(maps.shape, np.float32)
    for i in range(count):
        image = maps[i][order][:, :, ::-1] if draws.flip[i] else maps[i]
        down = (int(draws.top[i]) - config.pad) * height / config.height
        right = (int(draws.left[i]) - config.pad) * width / config.width
        out[i] = _moved_by_fraction(image, down, right)
    return out


def _moved_by_fraction(image: Float32[np.ndarray, "c h w"], down: float, right: float) -> np.ndarray:
    rows, columns = _weights(image.shape[1], down), _weights(image.shape[2], right)
    return rows @ image @ columns.T


def _weights(size: int, shift: float) -> np.ndarray:
    """Return (size, size) bilinear weights: output cell i reads position i + shift, nothing outside."""
    distance = np.abs(np.arange(size)[:, None] + shift - np.arange(size)[None, :])
    return np.maximum(0.0, 1.0 - distance)
