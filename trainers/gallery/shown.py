"""The pictures behind an index: it holds vectors only, so pictures come from the data sets that were embedded.

A data set is only taken when its images are those that were embedded, by sha256: another picture beside a vector would
be a lie. One that is not there costs its pictures, not the search; why is told.
Source: design of this project.
"""

from collections.abc import Sequence
from pathlib import Path

from resight.cluster.errors import UserError
from resight.cluster.storage import absolute
from resight.datasets.dataset import Dataset, open_dataset
from resight.trainers.gallery.index import GalleryImage, GalleryIndex

__all__ = ["Shown"]


class Shown:
    """Finds the pictures of an index.

    Args:
        index: whose images are shown.
        data: data sets that have moved since they were embedded; others are looked for where they lay.

    Attributes:
        missing: data set -> why its pictures cannot be shown; filled while pictures are asked for.

    Raises:
        UserError: when a folder of `data` is no data set.
    """

    def __init__(self, index: GalleryIndex, data: Sequence[str | Path] = ()) -> None:
        self.missing: dict[str, str] = {}
        self._index = index
        self._given = [open_dataset(absolute(place)) for place in data]
        self._opened: dict[tuple[str, str], Dataset | None] = {}

    def picture(self, image: GalleryImage) -> bytes | None:
        """Return the encoded picture of an image; None when its data set is not there or cannot be read."""
        segment = self._index.segment_of(image.position).segment
        which = (segment.data_sha256, segment.data)
        if which not in self._opened:
            self._opened[which] = self._open(image.dataset, *which)
        dataset = self._opened[which]
        if dataset is None:
            return None
        try:
            return bytes(dataset.image_bytes(dataset.index.row_of(image.key)))
        except UserError as error:
            self.missing[image.dataset] = error.problem
            return None

    def _open(self, name: str, sha256: str, place: str) -> Dataset | None:
        for dataset in self._given:
            if dataset.card.sha256 == sha256:
                return dataset
        try:
            dataset = open_dataset(place)
        except UserError as error:
            self.missing[name] = f"{error.problem} ({place})"
            return None
        if dataset.card.sha256 != sha256:
            self.missing[name] = f"it holds other images now than those that were embedded ({place})"
            return None
        return dataset
