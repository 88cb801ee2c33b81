"""Decoded, resized images that all processes of this machine share: each image is decoded once a machine.

One piece of shared memory a data set and image size. An image's slot is its place among the trainable rows of its data
set, so nothing is allocated, looked up or locked: a slot holds the image's pixels, or nothing yet. Who decodes an image
writes the pixels and then the slot's word (a checksum and a bit that says "written"); who reads one for the first time
compares the checksum, so half an image is never used, and later reads cost nothing. Two processes that decode the same
image at the same time write the same bytes.
With less memory than images, the first so many rows of each data set have slots: what is in stays in, as in
`image_cache.py`. Source: ours. Trade-off: images are compared on their first read in each process, about 50 us for
256x128; the memory lives as long as one process uses it.
"""

import hashlib
import math
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import numpy as np
from jaxtyping import UInt8

from resight.cluster.errors import UserError
from resight.cluster.machine import available_memory
from resight.cluster.shared_memory import SharedMemory, share_memory
from resight.datasets.augment.config import AugmentConfig
from resight.datasets.sources import Source

__all__ = ["SharedImages"]

_MADE_BY: Final = ("images-1", *(version(name) for name in ("opencv-python-headless", "simplejpeg")))
_GIB: Final = 1 << 30
_WRITTEN: Final = 1 << 32
_WORD: Final = 8


class SharedImages:
    """A map from a loader's row to its image, shared by processes and threads.

    Args:
        sources: data sets; a loader's rows are theirs, one after the other.
        augment: the images' size, and how they are resized.
        limit_bytes: of pixels, all data sets together.

    Raises:
        UserError: when there is not enough free memory, or the system cannot share any.
    """

    def __init__(self, sources: Sequence[Source], augment: AugmentConfig, limit_bytes: int) -> None:
        self._parts: list[_Part] = []
        self._part_of: list[int] = []
        self._slot_of: list[int] = []
        shape = (augment.height, augment.width, 3)
        left = limit_bytes // (math.prod(shape) + _WORD)
        for source in sources:
            trainable = np.union1d(source.rows, source.validation)
            part = _Part(_key(source, augment, trainable), shape, min(len(trainable), left))
            left -= part.capacity
            self._part_of += [len(self._parts)] * len(source.rows)
            self._slot_of += np.searchsorted(trainable, source.rows).tolist()
            self._parts.append(part)

    def get(self, row: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return a kept image, without copying it, or None."""
        return self._parts[self._part_of[row]].get(self._slot_of[row])

    def has_room(self, row: int, num_bytes: int) -> bool:
        """Tell whether the image of that row would be kept."""
        return self._slot_of[row] < self._parts[self._part_of[row]].capacity

    def keep(self, row: int, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Keep an image if it has a slot."""
        self._parts[self._part_of[row]].keep(self._slot_of[row], image)

    def clear(self) -> None:
        """Stop using the memory; other processes may go on."""
        for part in self._parts:
            part.close()


class _Part:
    """The slots of one data set: their words, then their pixels."""

    def __init__(self, key: str, shape: tuple[int, int, int], capacity: int) -> None:
        self.capacity = capacity
        self._met = bytearray(capacity)
        pixels, words = capacity * math.prod(shape), capacity * _WORD
        self._memory: SharedMemory | None = None
        if capacity:
            self._memory = share_memory(key, words + pixels)
            if self._memory.created:
                _check_memory(words + pixels, available_memory())
        data = self._memory.data if self._memory else memoryview(b"")
        self._words = np.frombuffer(data[:words], np.uint64)
        self._images = np.frombuffer(data[words:], np.uint8).reshape(capacity, *shape)
        self._read_only = self._images.view()
        self._read_only.flags.writeable = False

    def get(self, slot: int) -> np.ndarray | None:
        if slot >= self.capacity:
            return None
        if not self._met[slot]:
            word = int(self._words[slot])
            if not word or word != _WRITTEN | zlib.crc32(self._images[slot].data):
                return None
            self._met[slot] = 1
        return self._read_only[slot]

    def keep(self, slot: int, image: np.ndarray) -> None:
        if slot < self.capacity and not self._met[slot]:
            self._images[slot] = image
            self._words[slot] = _WRITTEN | zlib.crc32(np.ascontiguousarray(image).data)

    def close(self) -> None:
        """Let go; images that somebody still looks at stay valid."""
        self.capacity = 0
        self._images = self._read_only = np.empty((0, 0, 0, 3), np.uint8)
        self._words = np.empty(0, np.uint64)
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _key(source: Source, augment: AugmentConfig, trainable: np.ndarray) -> str:
    """Return what must be equal for two processes to find the same pixels in the same slots."""
    facts = [source.dataset.card.sha256, hashlib.sha256(trainable.tobytes()).hexdigest(), *_MADE_BY]
    facts += [str(augment.height), str(augment.width), augment.interpolation]
    return hashlib.sha256("/".join(facts).encode()).hexdigest()[:40]


def _check_memory(needed: int, free: int) -> None:
    """Refuse what would end in the system killing processes for memory."""
    if needed > free:
        raise UserError(
            f"decoded images may take {needed / _GIB:.2f} GiB of shared memory, and {free / _GIB:.2f} GiB are free",
            where="data.decoded_gib",
            cure="lower data.decoded_gib (0 keeps no decoded images), or end other programs",
        )
