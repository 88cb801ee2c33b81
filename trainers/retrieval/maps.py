"""Where a network looks, as small grey pictures beside the crops that a person is shown.

One map for each query shown and for its first answer, at the network's own resolution: 8 bits, 255 the image's most.
`maps.json` names them by key and says what brightness means; its legend is null for a method that draws none.
Source: design of this project. Trade-off: a report colours and enlarges them, so 48 maps take some ten kilobytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from resight.datasets.dataset import Dataset
from resight.datasets.decode import encode_plane
from resight.trainers.retrieval.showcase import Showcase

__all__ = ["LARGEST", "Look", "Maps", "draw_maps"]

LARGEST: Final = 64
"""Rows and columns that a stored map has at most; larger ones are averaged down."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What draws the maps of a network.

    Attributes:
        legend: what brightness means, in one sentence.
        maps: (data set, (n,) rows) -> (n, h, w) in [0, 1].
    """

    legend: str
    maps: Callable[[Dataset, Int64[np.ndarray, " n"]], Float32[np.ndarray, "n h w"]]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Drawn maps.

    Attributes:
        index: what `maps.json` holds: {"legend": text or None, "maps": {key of an image: file name}}.
        files: file name below the evaluation's folder -> PNG.
    """

    index: Mapping[str, Any]
    files: Mapping[str, bytes]


def draw_maps(look: Look | None, dataset: Dataset, show: Showcase) -> Maps:
    """Draw the maps of every query shown and of its first answer; none where there is nothing to look with."""
    firsts = [image for entry in show.rankings for image in (entry["query"], *entry["results"][:1])]
    rows = {image["key"]: show.crops[image["crop"]] for image in firsts}
    if look is None or not rows:
        return Maps(index={"legend": None, "maps": {}}, files={})
    found = look.maps(dataset, np.array(list(rows.values()), np.int64))
    names = {key: f"maps/{key}.png" for key in rows}
    files = {name: encode_plane(_bytes(each)) for name, each in zip(names.values(), found, strict=True)}
    return Maps(index={"legend": look.legend, "maps": names}, files=files)


def _bytes(values: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "_ _"]:
    """Return a map as grey levels, no side longer than `LARGEST`."""
    height, width = (min(side, LARGEST) for side in values.shape)
    small = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
    return np.round(255 * small).astype(np.uint8)
