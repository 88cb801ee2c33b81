"""Features that know nothing of identity but what a colour or an outline gives away: what a trained network must beat.

  histogram   hue and saturation of the person's pixels in 6 stripes of the crop, 16 x 8 bins, each stripe summing to 1,
              compared by Hellinger's kernel (square roots). Masked: over the whole crop it matches the background.
  silhouette  the mask at 64 x 32.
  untrained   the same architecture from fresh weights, see `judge.py`.
All are scored like any features, by cosine; a stripe or a crop without a person is a zero vector.
Source: stripes of HSV histograms from Farenzena et al. 2010 (SDALF) and Liao et al. 2015 (LOMO); square roots from
Arandjelovic and Zisserman 2012. Trade-off: no key points, so stripes are of the crop and not of the body.
"""

from collections.abc import Callable
from typing import Final, Protocol

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from resight.cluster.progress import Progress, Step, silent

__all__ = ["MASKED", "Masked", "NoMask", "histogram", "mask_features", "silhouette"]

_STRIPES: Final = 6
_HUES: Final = 16
_SATURATIONS: Final = 8
_SHAPE: Final = (64, 32)  # height x width

Image = UInt8[np.ndarray, "h w 3"]
Mask = UInt8[np.ndarray, "h w"]


class Masked(Protocol):
    """The part of a data set that these features read."""

    name: str

    def image(self, row: int) -> Image:
        """Return the crop, RGB."""
        ...

    def mask(self, row: int) -> Mask | None:
        """Return the mask, 255 where the person is visible; None when there is none."""
        ...


class NoMask(Exception):  # noqa: N818 - a finding that the caller reports, not a failure
    """A row has no mask, so features that need one cannot be made."""


def histogram(image: Image, mask: Mask) -> Float32[np.ndarray, " 768"]:
    """Return the square roots of 6 masked histograms of hue and saturation; each non-empty stripe has length 1."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue in [0, 180), saturation in [0, 256)
    person = mask > 127
    bins = (
        hsv[..., 0].astype(np.int64) * _HUES // 180 * _SATURATIONS + hsv[..., 1].astype(np.int64) * _SATURATIONS // 256
    )
    stripe = np.arange(len(mask)) * _STRIPES // len(mask)
    size = _HUES * _SATURATIONS
    cells = (stripe[:, None] * size + bins)[person]
    counts = np.bincount(cells, minlength=_STRIPES * size).reshape(_STRIPES, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.sqrt(shares).astype(np.float32).reshape(-1)


def silhouette(image: Image, mask: Mask) -> Float32[np.ndarray, " 2048"]:
    """Return the mask at 64 x 32 by area, in [0, 1], scaled to length 1."""
    outline = cv2.resize(mask.astype(np.float32) / 255, (_SHAPE[1], _SHAPE[0]), interpolation=cv2.INTER_AREA)
    return (outline / max(float(np.linalg.norm(outline)), 1e-12)).astype(np.float32).reshape(-1)


MASKED: Final[dict[str, Callable[[Image, Mask], Float32[np.ndarray, " d"]]]] = {
    "histogram": histogram,
    "silhouette": silhouette,
}


def mask_features(
    name: str, dataset: Masked, rows: Int64[np.ndarray, " n"], progress: Progress = silent
) -> Float32[np.ndarray, "n d"]:
    """Return the baseline's features of some rows of a data set.

    Raises:
        NoMask: when a row has no mask; the message says which.
    """
    features: list[Float32[np.ndarray, " d"]] = []
    for done, row in enumerate(rows.tolist(), start=1):
        mask = dataset.mask(row)
        if mask is None:
            raise NoMask(f"row {row} of {dataset.name} has no mask")
        features.append(MASKED[name](dataset.image(row), mask))
        if done % 256 == 0 or done == len(rows):
            progress(Step(task=f"baseline {name}", done=done, total=len(rows), unit="images"))
    return np.stack(features)
