"""Brightness, contrast, saturation and hue of one pixel, in this fixed order.

Each of the first three blends the pixel with something duller: black, the image's mean grey, the pixel's own grey; a
factor above 1 goes the other way and is clipped. Hue turns the colour circle of HSV. Source: torchvision's operations
on float images (ITU-R BT.601 luma to four digits; Smith 1978, hexcone model), with the order fixed where torchvision
draws it too. Trade-off: one order less to reproduce, a little less variety.
"""

import numpy as np
from jaxtyping import Float64
from numba import njit

__all__ = ["grey", "recolour"]


@njit(cache=True, nogil=True)
def grey(r: float, g: float, b: float) -> float:
    """Return the luma of a pixel."""
    return 0.2989 * r + 0.587 * g + 0.114 * b


@njit(cache=True, nogil=True)
def recolour(
    r: float, g: float, b: float, colour: Float64[np.ndarray, " 4"], middle: float
) -> tuple[float, float, float]:
    """Return the pixel with its colours changed, all values in [0, 1].

    Args:
        r: red.
        g: green.
        b: blue.
        colour: factors of brightness, contrast and saturation, and the turn of hue.
        middle: mean grey of the whole image after the brightness was changed.
    """
    r, g, b = _clip(r * colour[0]), _clip(g * colour[0]), _clip(b * colour[0])
    r, g, b = _blend(r, middle, colour[1]), _blend(g, middle, colour[1]), _blend(b, middle, colour[1])
    own = grey(r, g, b)
    r, g, b = _blend(r, own, colour[2]), _blend(g, own, colour[2]), _blend(b, own, colour[2])
    return (r, g, b) if colour[3] == 0.0 else _turn(r, g, b, colour[3])


@njit(cache=True, nogil=True)
def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@njit(cache=True, nogil=True)
def _blend(value: float, dull: float, factor: float) -> float:
    return _clip(factor * value + (1.0 - factor) * dull)


@njit(cache=True, nogil=True)
def _turn(r: float, g: float, b: float, turn: float) -> tuple[float, float, float]:
    """Turn the hue by `turn` of the circle, keeping the pixel's largest and smallest channel."""
    high, low = max(r, g, b), min(r, g, b)
    spread = high - low
    if spread == 0.0:
        return r, g, b
    if high == r:
        sector = (g - b) / spread
    elif high == g:
        sector = 2.0 + (b - r) / spread
    else:
        sector = 4.0 + (r - g) / spread
    sector = _wrapped(sector + 6.0 * turn)
    return (
        high - spread * _share(sector, 5.0),
        high - spread * _share(sector, 3.0),
        high - spread * _share(sector, 1.0),
    )


@njit(cache=True, nogil=True)
def _share(sector: float, offset: float) -> float:
    """Return how far a channel is below the largest, as a share of the spread."""
    k = _wrapped(sector + offset)
    return _clip(min(k, 4.0 - k))


@njit(cache=True, nogil=True)
def _wrapped(sector: float) -> float:
    """Return a place on the circle of six sectors, at most one turn off, as one in [0, 6); the remainder is slower."""
    if sector < 0.0:
        return sector + 6.0
    return sector - 6.0 if sector >= 6.0 else sector
