"""The transform without chance: resize and normalise, for evaluation and extraction.

Source: the strong baseline's test transform (Luo et al. 2019, arXiv:1903.07071). Trade-off: none; it is the fused
augmentation with nothing drawn, so training and test pixels come from the same code.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.draws import Draws
from resight.datasets.augment.fused import apply

__all__ = ["nothing_drawn", "test_transform"]


def test_transform(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], config: AugmentConfig
) -> Float32[np.ndarray, "n 3 height width"]:
    """Return the resized, normalised images.

    Args:
        images: n RGB images of any size, values 0 to 255.
        config: size, interpolation, mean and std; everything random is ignored.
    """
    out = np.empty((len(images), 3, config.height, config.width), np.float32)
    apply(images, nothing_drawn(len(images), config), config, out)
    return out


test_transform.__test__ = False  # pyright: ignore[reportFunctionMemberAccess] - not a test, whatever pytest thinks


def nothing_drawn(count: int, config: AugmentConfig) -> Draws:
    """Return draws that leave `count` images as they are."""
    return Draws(
        flip=np.zeros(count, bool),
        top=np.full(count, config.pad, np.int32),
        left=np.full(count, config.pad, np.int32),
        box=np.zeros((count, 4), np.int32),
        jitter=np.zeros(count, bool),
        colour=np.tile([1.0, 1.0, 1.0, 0.0], (count, 1)),
        noise=np.zeros(count, np.uint64),
    )
