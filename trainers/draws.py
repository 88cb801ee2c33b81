"""Every random decision inside a network, as arrays that enter it like any other input.

Drop-path removes a residual branch of a block for some images (stochastic depth). Which ones is a function of (seed,
epoch, step, slot, layer) alone: the first four are hashed into a key as the augmentation's draws are, after a word
that tells the two apart, and the layer numbers the draw. So a slot's draws do not depend on the other slots, on the
number of workers or on what was drawn before, and there is no generator to checkpoint.

Source: Huang et al. 2016 (arXiv:1603.09382), drop-path; Steele et al. 2014 (SplitMix64), the hash. What is kept is
scaled by 1 / (1 - rate), as timm and TransReID's code do.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64, UInt64
from numba import njit

from resight.datasets.augment.draws import mix, uniform

__all__ = ["BRANCHES", "drop_path"]

BRANCHES: Final = 2
"""Residual branches of a block: attention, then the multi-layer perceptron."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_NETWORK: Final = np.uint64(0x6472_6F70_5F70_6174)  # any fixed word: these are not the augmentation's draws


def drop_path(
    rates: Sequence[float], *, seed: int, epoch: int, step: int, slots: Sequence[int]
) -> Float64[np.ndarray, "layers branches n"]:
    """Return what each residual branch of each layer is multiplied by, for the images on `slots`: 0 or 1 / (1 - rate).

    Args:
        rates: probability of dropping a branch, by layer, in [0, 1).
        seed: of the run, >= 0.
        epoch: >= 0.
        step: in the epoch, >= 0.
        slots: positions in the logical batch; only they matter, not how many are asked for at once.
    """
    shared = np.array([_NETWORK, seed, epoch, step], np.uint64)
    drawn = _uniforms(shared, np.asarray(slots, np.uint64), BRANCHES * len(rates))
    rate = np.asarray(rates, np.float64)[:, None, None]
    return np.where(drawn.reshape(len(rates), BRANCHES, -1) < rate, 0.0, 1 / (1 - rate))


@njit(cache=True, nogil=True)
def _uniforms(
    shared: UInt64[np.ndarray, " 4"], slots: UInt64[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, "count n"]:
    """Return draws 0 to `count` - 1 of each slot, in [0, 1)."""
    values = np.empty((count, len(slots)))
    for i in range(len(slots)):
        key = np.uint64(0)
        for part in shared:
            key = mix((key ^ part) + _GOLDEN)
        key = mix((key ^ slots[i]) + _GOLDEN)
        for number in range(count):
            values[number, i] = uniform(key, number)
    return values
