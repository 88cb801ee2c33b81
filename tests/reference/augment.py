"""The augmentation one step after another in float64 numpy, and its draws in Python integers.

Written from the papers: Luo et al. 2019 (arXiv:1903.07071) for the order, Zhong et al. 2017 (arXiv:1708.04896) for the
box, Smith 1978 for the colour circle, Steele et al. 2014 for SplitMix64.
"""

import colorsys
import math

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def slot_key(*integers: int) -> int:
    key = 0
    for integer in integers:
        key = mix(((key ^ integer) + _GOLDEN) & _MASK)
    return key


def uniform(key: int, number: int) -> float:
    return (mix((key + (number + 1) * _GOLDEN) & _MASK) >> 11) / 2**53


def box(
    key: int, height: int, width: int, area: tuple[float, float], aspect: float, tries: int, first: int
) -> tuple[int, ...]:
    """The first of `tries` boxes that is smaller than the image in both directions, or four zeros."""
    for n in range(tries):
        pixels = height * width * (area[0] + (area[1] - area[0]) * uniform(key, first + 4 * n))
        ratio = aspect + (1 / aspect - aspect) * uniform(key, first + 4 * n + 1)
        h, w = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < h < height and 0 < w < width:
            top = int(uniform(key, first + 4 * n + 2) * (height - h + 1))
            left = int(uniform(key, first + 4 * n + 3) * (width - w + 1))
            return top, left, h, w
    return 0, 0, 0, 0


def augment(
    image: np.ndarray,
    *,
    flip: bool,
    pad: int,
    top: int,
    left: int,
    colour: np.ndarray | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    erased: tuple[int, int, int, int],
    fill: np.ndarray,
) -> np.ndarray:
    """Return (3, H, W) float64 from a resized (H, W, 3) uint8 image; `fill` (3, H, W) shows through the erased box."""
    height, width = image.shape[:2]
    mirrored = image[:, ::-1] if flip else image
    padded = np.pad(mirrored, ((pad, pad), (pad, pad), (0, 0)))
    values = padded[top : top + height, left : left + width] / 255.0
    if colour is not None:
        values = jitter(values, *colour)
    out = ((values - np.array(mean)) / np.array(std)).transpose(2, 0, 1)
    y, x, h, w = erased
    out[:, y : y + h, x : x + w] = fill[:, y : y + h, x : x + w]
    return out


def jitter(values: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float) -> np.ndarray:
    """Return (H, W, 3) in [0, 1] with brightness, contrast, saturation and hue changed, in this order."""
    luma = np.array([0.2989, 0.587, 0.114])
    values = np.clip(values * brightness, 0, 1)
    values = np.clip(contrast * values + (1 - contrast) * (values @ luma).mean(), 0, 1)
    values = np.clip(saturation * values + (1 - saturation) * (values @ luma)[:, :, None], 0, 1)
    out = np.empty_like(values)
    for place in np.ndindex(values.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*values[place])
        out[place] = colorsys.hsv_to_rgb((h + hue) % 1.0, s, v)
    return out


def noise(key: int, height: int, width: int) -> np.ndarray:
    """Return (3, H, W) standard normal values by Box and Muller 1958."""
    values = []
    for place in range(3 * height * width):
        radius = math.sqrt(-2 * math.log(1 - uniform(key, 2 * place)))
        values.append(radius * math.cos(2 * math.pi * uniform(key, 2 * place + 1)))
    return np.array(values).reshape(3, height, width)
