"""How a reader's origins become encoded images: nearly always the file itself.

Packing stores JPEG and PNG bytes as they are. Data sets from before PNG was usual hold bitmaps, which are re-encoded
here as PNG: nothing is lost, and fixed settings make equal pixels equal bytes.
Source: design of this project.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from jaxtyping import UInt8

from resight.datasets.decode import Undecodable

__all__ = ["Bitmaps", "Files", "Pictures", "png"]

_PIECE: Final = 1 << 16
"""Bytes asked for at a time, at first: more than nearly any crop has."""
_SETTINGS: Final = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, 0]


class Pictures(Protocol):
    """Where the images of a scan come from; travels to workers by pickle."""

    @property
    def form(self) -> str:
        """What is done to the bytes: part of the identity of a shard."""
        ...

    def read(self, origin: str, size: int) -> bytes:
        """Return a JPEG or PNG; OSError when it cannot be read, Undecodable when it is no picture.

        Args:
            origin: as in the record.
            size: bytes of the source, as listed (`Source.size`).
        """
        ...


@dataclass(frozen=True)
class Files:
    """Files below a folder, as they are."""

    root: Path
    form: str = "files"

    def read(self, origin: str, size: int) -> bytes:
        """Return the file; plain system calls, since opening a Python file takes longer than reading a crop.

        One that is as long as it was listed is whole; any other is read until there is no more.
        """
        handle = os.open(f"{self.root}/{origin}", os.O_RDONLY)
        try:
            data = os.read(handle, max(_PIECE, size + 1))
            while len(data) != size and (more := os.read(handle, max(_PIECE, len(data)))):
                data += more
        finally:
            os.close(handle)
        return data


@dataclass(frozen=True)
class Bitmaps:
    """Bitmap files (BMP) below a folder, as PNG."""

    root: Path
    form: str = "bitmaps-1"

    def read(self, origin: str, size: int) -> bytes:
        """Return the file's pixels as PNG."""
        data = (self.root / origin).read_bytes()
        if not data.startswith(b"BM"):
            raise Undecodable("not a bitmap, although its name says so")
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise Undecodable("a bitmap that cannot be decoded")
        return _encode(pixels)


def png(rgb: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return RGB pixels as PNG; equal pixels give equal bytes."""
    return _encode(rgb[:, :, ::-1])


def _encode(bgr: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", np.ascontiguousarray(bgr), _SETTINGS)
    assert done, "OpenCV could not encode an RGB picture"
    return data.tobytes()
