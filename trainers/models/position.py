"""Position tables for another grid of tokens than the one they were trained on.

A table has one row for the class token, perhaps one for DeiT's distillation token, and one for each patch, row by row.
The class token's row is kept, the distillation token's is dropped, the patches' are resized as an image is.

Source: He et al. 2021 (TransReID, arXiv:2102.04378) and its code: bilinear, align_corners=False, the old grid a square.
The code learns of the distillation token from the file's name; here the number of rows tells.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from resight.cluster.errors import UserError

__all__ = ["resize_positions"]


def resize_positions(
    table: Float[Tensor, "1 old d"], grid: tuple[int, int], *, ratio: int = 1
) -> Float[Tensor, "1 new d"]:
    """Return the table for a class token and `grid` = (rows, columns) of patches.

    Args:
        table: with 1 or 2 rows before those of the patches.
        grid: the patches wanted.
        ratio: rows over columns of the table's own grid, 1 for the square images of ImageNet. A table with as many
            patches as are wanted, but no such grid, is taken for one of the wanted grid.

    Raises:
        UserError: when the table's grid cannot be told from its number of rows.
    """
    extra, old = _layout(table.shape[1], grid, ratio)
    patches = table[:, extra:]
    if old != grid:
        image = patches.unflatten(1, old).permute(0, 3, 1, 2)
        image = F.interpolate(image, size=grid, mode="bilinear", align_corners=False)
        patches = image.flatten(2).transpose(1, 2)
    return torch.cat([table[:, :1], patches], dim=1)


def _layout(rows: int, grid: tuple[int, int], ratio: int) -> tuple[int, tuple[int, int]]:
    """Return how many rows come before the patches', and the grid of those."""
    for extra in (1, 2):
        if old := _grid_of(rows - extra, ratio):
            return extra, old
    for extra in (1, 2):
        if rows - extra == grid[0] * grid[1]:
            return extra, grid
    raise UserError(
        f"a position table of {rows} rows has no grid that is {ratio} times as high as wide",
        where="model.grid_ratio",
        cure="set model.grid_ratio to height / width of the images the weights were trained on",
    )


def _grid_of(patches: int, ratio: int) -> tuple[int, int] | None:
    columns = round((patches / ratio) ** 0.5)
    return (ratio * columns, columns) if patches > 0 and ratio * columns * columns == patches else None
