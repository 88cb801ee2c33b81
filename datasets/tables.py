"""What a data set holds, counted: images by camera, identities by how many outfits they wear, and published figures.

The published figures are those of the readers (`resight data list`); a copy that differs from them is worth a look,
but may be a subset on purpose.
Source: design of this project.
"""

from collections.abc import Mapping

import numpy as np

from resight.datasets.index import Index
from resight.datasets.readers import READERS

__all__ = ["camera_table", "differing_counts", "outfit_table"]


def camera_table(index: Index) -> dict[str, dict[str, int]]:
    """Return split -> camera -> images; "unknown" for images without a camera."""
    return {split: _count(index.camid[index.select(split=split)]) for split in index.splits}


def outfit_table(index: Index) -> dict[str, dict[str, int]]:
    """Return split -> number of outfits -> identities seen in so many; splits without known outfits are left out."""
    tables: dict[str, dict[str, int]] = {}
    for split in index.splits:
        rows = index.select(split=split, role="person")
        rows = rows[(index.outfit[rows] >= 0) & (index.pid[rows] >= 0)]
        worn = np.unique(np.stack([index.pid[rows], index.outfit[rows]], axis=1), axis=0)
        if len(worn):
            tables[split] = _count(np.unique(worn[:, 0], return_counts=True)[1])
    return tables


def differing_counts(index: Index, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Compare with what is published.

    Args:
        index: of the data set.
        counts: split -> "images" and "ids", as `count_splits` returns them.

    Returns:
        A sentence for every figure that differs; none for data that no reader knows, or mixed ones.
    """
    names = np.unique(index.dataset).tolist()
    if len(names) != 1 or names[0] not in READERS:
        return []
    sentences: list[str] = []
    for split, size in READERS[names[0]].about.sizes.items():
        tracks = index.tracklet[index.select(split=split)]
        counted = {**counts.get(split, {}), "tracklets": len(np.unique(tracks[tracks >= 0]))}
        published = {"images": size.images, "ids": size.ids, "tracklets": size.tracklets}
        sentences += [
            f"{split}: {counted.get(what, 0):,} {what}, published {figure:,}"
            for what, figure in published.items()
            if figure is not None and counted.get(what, 0) != figure
        ]
    return sentences


def _count(values: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    names = ("unknown" if value < 0 else str(value) for value in found.tolist())
    return dict(zip(names, counts.tolist(), strict=True))
