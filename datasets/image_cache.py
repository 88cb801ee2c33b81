"""Decoded, resized images kept in memory, up to a limit: what a loader asks of such a cache, and one of its own.

What is in stays in: an epoch touches every image about once, so throwing out the least recently used would throw out
each image just before it is needed again. Source: ours. Trade-off: with less memory than images the hit rate is the
share that fits, and each worker of a machine keeps its own copies; `shared_images.py` keeps one a machine.
"""

import threading
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

__all__ = ["DecodedImages", "ImageCache"]


class DecodedImages(Protocol):
    """A map from a loader's row to its decoded, resized image; threads may share it."""

    def get(self, row: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return a kept image, or None."""
        ...

    def has_room(self, row: int, num_bytes: int) -> bool:
        """Tell whether an image of that row and size would be kept."""
        ...

    def keep(self, row: int, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Keep an image if there is room; nobody may write to it from now on."""
        ...

    def clear(self) -> None:
        """Forget all images."""
        ...


class ImageCache:
    """A map from row to image; threads may share it.

    Args:
        limit_bytes: of pixels; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._images: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, row: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return a kept image, or None."""
        return self._images.get(row)

    def has_room(self, row: int, num_bytes: int) -> bool:
        """Tell whether an image of that size would be kept."""
        return num_bytes <= self._left

    def keep(self, row: int, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Keep an image if there is room; nobody may write to it from now on."""
        with self._lock:
            if row not in self._images and image.nbytes <= self._left:
                self._images[row] = image
                self._left -= image.nbytes

    def clear(self) -> None:
        """Forget all images."""
        with self._lock:
            self._left += sum(image.nbytes for image in self._images.values())
            self._images.clear()
