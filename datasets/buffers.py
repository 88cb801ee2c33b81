"""Memory for batches, used again as soon as nobody looks at it any more.

The first touch of fresh memory costs a page fault every 4 KB, 6,000 for 64 images of 256x128. So a batch's memory
goes back on a shelf when the last tensor that shares it is gone, and never earlier: torch holds the array the tensor
was made from, and a finaliser on that array does the shelving. Nothing has to be handed back by hand. Memory that a
CUDA device copies from while the host goes on must not come back before the copy is done: torch's own allocator of
pinned memory knows when that is, and keeps what it has, so pinned arrays are left to it. Source: ours. Trade-off:
views made with numpy from a batch's memory would not be seen; batches give out tensors only.
"""

import weakref
from collections import deque

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

__all__ = ["Buffers"]


class Buffers:
    """Arrays of one shape, made on demand.

    Args:
        shape: of each array.
        dtype: of each array.
        pinned: whether a CUDA device shall copy from them while the host goes on.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, *, pinned: bool = False) -> None:
        self._shape = shape
        self._dtype = dtype
        self._pinned = pinned
        self._shelf: deque[Tensor] = deque()

    def take(self) -> tuple[Shaped[np.ndarray, "..."], Tensor]:
        """Return an array with arbitrary content and a tensor that shares its memory.

        The memory begins on torch's alignment, so kernels take the same path for every batch.
        """
        if self._pinned:
            owner = torch.empty(self._shape, dtype=self._dtype, pin_memory=True)
            return owner.numpy(), owner
        try:
            owner = self._shelf.pop()
        except IndexError:
            owner = torch.empty(self._shape, dtype=self._dtype)
        array = owner.numpy()
        weakref.finalize(array, self._shelf.append, owner).atexit = False
        return array, torch.from_numpy(array)
