"""Choosing the K images of each identity of an epoch, spread over cameras and outfits.

One greedy pass in compiled code over images in random order: the next image is the first that is least by (times in
this draw, times in this epoch, images of its camera in this draw, images of its outfit in this draw). The first two
rules mean that no image is repeated before all images of the identity were used; identities with fewer than K images
repeat some. Source: ours. Trade-off: exact and simple, at K x images of the identity a draw; a perfect candidate ends
the search early.
"""

import numpy as np
from jaxtyping import Int64
from numba import njit

__all__ = ["pick_images"]


@njit(cache=True, nogil=True)
def pick_images(
    classes: Int64[np.ndarray, " draws"],
    starts: Int64[np.ndarray, " ids_and_one"],
    spread: Int64[np.ndarray, "fields rows"],
    k: int,
) -> Int64[np.ndarray, "draws k"]:
    """Return K positions for each draw, in the order they were chosen.

    Args:
        classes: the identity of each draw.
        starts: identity i owns positions starts[i] to starts[i + 1] - 1, in random order.
        spread: for each position the values that should differ within a draw, most important field first.
        k: images of each draw.
    """
    picked = np.empty((len(classes), k), np.int64)
    used = np.zeros(spread.shape[1], np.int64)
    least = np.zeros(len(starts) - 1, np.int64)  # times every image of the identity was used at least
    for draw in range(len(classes)):
        identity = classes[draw]
        first, last = int(starts[identity]), int(starts[identity + 1])
        for n in range(k):
            best = _best(first, last, picked[draw, :n], used, int(least[identity]), spread, k)
            picked[draw, n] = best
            used[best] += 1
        least[identity] = used[first:last].min()
    return picked


@njit(cache=True, nogil=True)
def _best(
    first: int,
    last: int,
    chosen: Int64[np.ndarray, " n"],
    used: Int64[np.ndarray, " rows"],
    least: int,
    spread: Int64[np.ndarray, "fields rows"],
    k: int,
) -> int:
    """Return the next image of an identity; the four rules are digits of one number, so comparing is cheap."""
    digits = (k + 1) ** len(spread)
    perfect = least * digits
    best, lowest = first, np.iinfo(np.int64).max
    for row in range(first, last):
        cost = used[row] * digits
        if cost >= lowest:
            continue
        for earlier in chosen:
            cost += int(earlier == row) << 48
            weight = digits
            for field in range(len(spread)):
                weight //= k + 1
                cost += weight * int(spread[field, earlier] == spread[field, row])
        if cost < lowest:
            best, lowest = row, cost
            if cost == perfect:
                break
    return best
