"""A contact sheet: many crops on one picture, for eyes.

Each crop is fitted into its cell without changing its proportions; a strip at the left edge of every cell may carry a
colour (green and red for right and wrong, or one a person).
Source: design of this project.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset

__all__ = ["colour_of", "contact_sheet", "identity_rows", "lay_out", "overview_rows", "sheet_png"]

_PAPER: Final = 245
_GAP: Final = 4  # pixels between cells
_STRIP: Final = 4  # pixels of colour at the left of a cell

Colour = tuple[int, int, int]


def contact_sheet(
    dataset: Dataset, rows: Sequence[int], *, columns: int, cell: tuple[int, int] = (128, 64), by: str = ""
) -> UInt8[np.ndarray, "height width 3"]:
    """Return crops of a data set as one picture, row by row.

    Args:
        dataset: where from.
        rows: which, in reading order.
        columns: cells a line.
        cell: height and width of a cell in pixels.
        by: a column of the index ("pid", "camid", "outfit"): crops with equal values get strips of one colour.
    """
    values = getattr(dataset.index, by) if by else None
    colours = None if values is None else [colour_of(values[row]) for row in rows]
    return lay_out(dataset.images(rows), columns=columns, cell=cell, colours=colours)


def identity_rows(dataset: Dataset, *, split: str, ids: int, per_id: int) -> list[int]:
    """Choose rows for a sheet that shows a person a line.

    Args:
        dataset: where from.
        split: which part of it.
        ids: lines at most; those with `per_id` images or more, in order of pid.
        per_id: images of each, spread evenly over what there is in order of outfit, camera and frame.

    Raises:
        UserError: when nobody in the split has `per_id` images.
    """
    index = dataset.index
    rows = index.select(split=split)
    rows = rows[np.lexsort((index.frame[rows], index.camid[rows], index.outfit[rows], index.pid[rows]))]
    chosen: list[int] = []
    for pid in np.unique(index.pid[rows][index.pid[rows] >= 0]):
        own = rows[index.pid[rows] == pid]
        if len(own) >= per_id and len(chosen) < ids * per_id:
            chosen += own[np.linspace(0, len(own) - 1, per_id).round().astype(int)].tolist()
    if not chosen:
        raise UserError(
            f"nobody in split {split!r} of {dataset.name} has {per_id} images",
            where=dataset.path,
            cure=f"ask for fewer; the splits are: {', '.join(index.splits)}",
        )
    return chosen


def overview_rows(dataset: Dataset, *, ids: int = 10, per_id: int = 10) -> tuple[list[int], int]:
    """Choose rows for a sheet of any data set: people of its last split, a line each; without people, any images.

    Args:
        dataset: where from.
        ids: lines at most.
        per_id: images of each at most; fewer when too few people have so many.

    Returns:
        The rows, and how many stand on a line.
    """
    index = dataset.index
    split = index.splits[-1]
    rows = index.select(split=split, role="person")
    counts = np.sort(np.unique(index.pid[rows][index.pid[rows] >= 0], return_counts=True)[1])[::-1]
    if not len(counts):
        spread = np.linspace(0, len(index) - 1, min(ids * per_id, len(index)))
        return spread.round().astype(int).tolist(), per_id
    shown = min(per_id, int(counts[min(ids, len(counts)) - 1]))
    return identity_rows(dataset, split=split, ids=ids, per_id=shown), shown


def lay_out(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    *,
    columns: int,
    cell: tuple[int, int] = (128, 64),
    colours: Sequence[Colour | None] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return RGB images of any sizes on one sheet of light grey."""
    if columns < 1:
        raise ValueError(f"columns must be at least 1, not {columns}")
    height, width = cell
    step_y, step_x = height + _GAP, width + _STRIP + _GAP
    lines = max(1, -(-len(images) // columns))
    sheet = np.full((lines * step_y + _GAP, columns * step_x + _GAP, 3), _PAPER, np.uint8)
    for i, image in enumerate(images):
        y, x = _GAP + i // columns * step_y, _GAP + i % columns * step_x
        colour = colours[i] if colours is not None else None
        if colour is not None:
            sheet[y : y + height, x : x + _STRIP] = colour
        fitted = _fit(image, height, width)
        top, left = y + (height - fitted.shape[0]) // 2, x + _STRIP + (width - fitted.shape[1]) // 2
        sheet[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return sheet


def sheet_png(sheet: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return an RGB picture as PNG."""
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    assert done, "OpenCV could not encode an RGB picture"
    return data.tobytes()


def colour_of(value: object) -> Colour:
    """Return a colour that depends only on `value`: bright, and different for most values."""
    hue = hashlib.blake2b(str(value).encode(), digest_size=1).digest()[0] * 180 // 256
    red, green, blue = cv2.cvtColor(np.array([[[hue, 200, 230]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if size == (image.shape[1], image.shape[0]):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
