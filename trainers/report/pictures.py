"""Crops and maps as pictures inside the page, each within a fixed size.

A picture is at most 192 pixels on its longer side and 16 KiB, so the 360 of one evaluation (24 queries with ten
answers, and their maps) stay under 8 MB for any data; with crops of 128x64 they take 1.5 MB. Maps are enlarged
smoothly, coloured and laid over the grey crop. The colours are viridis: lightness rises evenly, also for eyes that
confuse colours.

Source: van der Walt and Smith 2015 for viridis. Trade-off: a large crop loses pixels on the page; the run folder keeps
its stored bytes.
"""

import base64
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import matplotlib as mpl
import numpy as np
import simplejpeg
from jaxtyping import UInt8

from resight.datasets.decode import decode, decode_plane, image_size, kind_of

__all__ = ["HEIGHT", "MOST_BYTES", "overlay", "photo", "scale_stops"]

HEIGHT: Final = 192
MOST_BYTES: Final = 16 * 1024
_QUALITIES: Final = (88, 75, 60, 45, 30, 15, 5)
_SHARE: Final = 0.6  # of the colour in what is shown; the rest is the grey crop


def photo(crop: Path | bytes) -> str:
    """Return a crop, a file or its bytes, as a data URI: the stored bytes where they are small, else shrunk."""
    data = crop if isinstance(crop, bytes) else crop.read_bytes()
    height, width = image_size(data)
    if max(height, width) <= HEIGHT and len(data) <= MOST_BYTES:
        return _uri(data, "png" if kind_of(data) == "png" else "jpeg")
    return _uri(_jpeg(_shrunk(decode(data))), "jpeg")


def overlay(crop: Path, looked: Path) -> str:
    """Return a crop with a map of [0, 255] over it as a data URI."""
    image = _shrunk(decode(crop.read_bytes()))
    height, width = image.shape[:2]
    small = decode_plane(looked.read_bytes())
    levels = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    mixed = _SHARE * np.take(_palette(), levels, axis=0) + (1 - _SHARE) * grey
    return _uri(_jpeg(np.round(mixed).astype(np.uint8)), "jpeg")


def scale_stops(count: int = 7) -> list[str]:
    """Return colours of the scale from nothing to most, for a legend."""
    return [f"rgb({r},{g},{b})" for r, g, b in _palette()[np.linspace(0, 255, count).astype(int)]]


@cache
def _palette() -> UInt8[np.ndarray, "256 3"]:
    return mpl.colormaps["viridis"](np.arange(256), bytes=True)[:, :3]


def _shrunk(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    height, width = image.shape[:2]
    scale = min(1.0, HEIGHT / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _jpeg(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return the best JPEG that is small enough; at the lowest quality every picture of this size is."""
    tries = (simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality) for quality in _QUALITIES)
    small = next((data for data in tries if len(data) <= MOST_BYTES), None)
    assert small is not None, f"{image.shape} does not fit into {MOST_BYTES} bytes"
    return small


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
