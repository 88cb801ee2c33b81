"""Every random decision of an augmentation, as arrays with one row a slot.

What is drawn for a slot is a pure function of (seed, epoch, step, slot): the four integers are hashed into a key and
draw number i is a hash of (key, i), so no slot depends on another, on the number of workers, or on whether an earlier
option was on. Nothing is drawn while pixels are touched, except the noise of an erased box, which is a hash of its
own key and the pixel's number. Source: Steele et al. 2014 (SplitMix64) for the hash; Luo et al. 2019
(arXiv:1903.07071) and Zhong et al. 2017 (arXiv:1708.04896) for what is drawn. Trade-off: not numpy's generators,
which are not independent streams by position at this price (2 us a slot).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, UInt64
from numba import njit

from resight.datasets.augment.config import AugmentConfig

__all__ = ["Draws", "draw"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FLIP, _TOP, _LEFT, _ERASE, _COLOUR, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE, _NOISE = range(10)
_BOXES = 16  # from here on: area, aspect, top, left of each try


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What to do to each of n images.

    Attributes:
        flip: mirror left and right, before everything else.
        top, left: the window's corner in the padded image, 0 to 2 x pad; `pad` leaves the image where it is.
        box: the erased box as top, left, height, width in pixels of the output; height 0 erases nothing.
        jitter: change the colours.
        colour: factors of brightness, contrast and saturation, and the turn of hue.
        noise: key of the erased box's noise.
    """

    flip: Bool[np.ndarray, " n"]
    top: Int32[np.ndarray, " n"]
    left: Int32[np.ndarray, " n"]
    box: Int32[np.ndarray, "n 4"]
    jitter: Bool[np.ndarray, " n"]
    colour: Float64[np.ndarray, "n 4"]
    noise: UInt64[np.ndarray, " n"]

    def __len__(self) -> int:
        """The number of slots."""
        return len(self.flip)


def draw(config: AugmentConfig, *, seed: int, epoch: int, step: int, slots: Sequence[int]) -> Draws:
    """Decide what happens to the images on `slots` of a logical batch.

    Args:
        config: probabilities and ranges.
        seed: of the run, >= 0.
        epoch: >= 0.
        step: in the epoch, >= 0.
        slots: positions in the logical batch; only they matter, not how many are asked for at once.
    """
    numbers = np.asarray(slots, np.uint64)
    keys = _keys(np.array([seed, epoch, step], np.uint64), numbers)
    jitter = config.colour
    strengths = np.array([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    colour = 1.0 + strengths * (2.0 * _uniforms(keys, _BRIGHTNESS, 4) - 1.0)
    colour[:, 3] -= 1.0
    window = np.minimum(np.floor(_uniforms(keys, _TOP, 2) * (2 * config.pad + 1)), 2 * config.pad).astype(np.int32)
    erase = _uniforms(keys, _ERASE, 1)[:, 0] < config.erase
    return Draws(
        flip=_uniforms(keys, _FLIP, 1)[:, 0] < config.flip,
        top=window[:, 0].copy(),
        left=window[:, 1].copy(),
        box=_boxes(
            keys,
            erase,
            config.height,
            config.width,
            np.array(config.erase_area),
            config.erase_aspect,
            config.erase_tries,
        ),
        jitter=_uniforms(keys, _COLOUR, 1)[:, 0] < jitter.probability,
        colour=colour,
        noise=_words(keys, _NOISE),
    )


@njit(cache=True, nogil=True)
def mix(word: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit moves every output bit."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(cache=True, nogil=True)
def uniform(key: np.uint64, number: int) -> float:
    """Return draw `number` of a key, in [0, 1) on a grid of 2^-53."""
    word = mix(key + np.uint64(number + 1) * _GOLDEN)
    return float(word >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _keys(shared: UInt64[np.ndarray, " 3"], slots: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    keys = np.empty(len(slots), np.uint64)
    for i in range(len(slots)):
        key = np.uint64(0)
        for part in shared:
            key = mix((key ^ part) + _GOLDEN)
        keys[i] = mix((key ^ slots[i]) + _GOLDEN)
    return keys


@njit(cache=True, nogil=True)
def _uniforms(keys: UInt64[np.ndarray, " n"], first: int, count: int) -> Float64[np.ndarray, "n count"]:
    values = np.empty((len(keys), count))
    for i in range(len(keys)):
        for j in range(count):
            values[i, j] = uniform(keys[i], first + j)
    return values


@njit(cache=True, nogil=True)
def _words(keys: UInt64[np.ndarray, " n"], number: int) -> UInt64[np.ndarray, " n"]:
    words = np.empty(len(keys), np.uint64)
    for i in range(len(keys)):
        words[i] = mix(keys[i] + np.uint64(number + 1) * _GOLDEN)
    return words


@njit(cache=True, nogil=True)
def _boxes(
    keys: UInt64[np.ndarray, " n"],
    erase: Bool[np.ndarray, " n"],
    height: int,
    width: int,
    area: Float64[np.ndarray, " 2"],
    aspect: float,
    tries: int,
) -> Int32[np.ndarray, "n 4"]:
    """Draw boxes until one is smaller than the image in both directions; none fitting erases nothing."""
    boxes = np.zeros((len(keys), 4), np.int32)
    for i in range(len(keys)):
        for n in range(tries if erase[i] else 0):
            first = _BOXES + 4 * n
            pixels = height * width * (area[0] + (area[1] - area[0]) * uniform(keys[i], first))
            ratio = aspect + (1.0 / aspect - aspect) * uniform(keys[i], first + 1)
            h, w = round(np.sqrt(pixels * ratio)), round(np.sqrt(pixels / ratio))
            if 0 < h < height and 0 < w < width:
                boxes[i, 0] = min(int(uniform(keys[i], first + 2) * (height - h + 1)), height - h)
                boxes[i, 1] = min(int(uniform(keys[i], first + 3) * (width - w + 1)), width - w)
                boxes[i, 2], boxes[i, 3] = h, w
                break
    return boxes
