"""Bringing an image to the network's size, the one step that does not depend on chance and is worth caching.

OpenCV resizes a 128x64 crop to 256x128 in 37 us, Pillow in 230 to 350 us; the pixels differ a little, most of all when
shrinking, where Pillow filters first and OpenCV's linear and cubic do not (use `area` there). Source: measured by
`benchmarks/input_pipeline.py`; an image that has the size already is passed on without a copy.
"""

from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from resight.datasets.augment.config import AugmentConfig, Interpolation

__all__ = ["resize"]

_FLAGS: Final[dict[Interpolation, int]] = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


def resize(
    image: UInt8[np.ndarray, "h w 3"], config: AugmentConfig, out: UInt8[np.ndarray, "height width 3"] | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image at `config.height` x `config.width`, contiguous.

    Args:
        image: RGB, values 0 to 255, any size.
        config: size and interpolation.
        out: memory for the result where one is made; fresh memory costs about as much as the resize itself.
    """
    if image.shape[:2] == (config.height, config.width):
        return np.ascontiguousarray(image)
    flag = _FLAGS[config.interpolation]
    return np.asarray(cv2.resize(image, (config.width, config.height), dst=out, interpolation=flag), np.uint8)
