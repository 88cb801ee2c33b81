"""Several images as one: a tracklet by its mean feature, a query by the mean of its person before its camera.

  tracklets     images of one tracklet become one entry on their side; the first image stands for it in pictures.
  multi-query   a query's feature becomes the mean over all images, of both splits, of its identity and camera: the
                protocol drops those from its ranking anyway, so none of them is an answer.
Features come in at unit length and leave as means, which are compared by cosine.
Source: multiple queries by average pooling from Zheng et al. 2015 (Market-1501), section 4.2, with the cropped images
of the data set in the place of the hand-drawn ones; mean features of tracklets from Zheng et al. 2016 (MARS).
Trade-off: features are gathered in the order of their groups, one copy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.protocol import Drop, EvalProtocol
from resight.trainers.retrieval.sides import Sides

__all__ = ["Pooling", "group_means", "make_pooling"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooling:
    """From features of images to features of what is judged.

    Attributes:
        images: the rows to embed.
        sides: what is judged, each entry by one row that stands for it.
        entry: (n,) for each of `images.rows`, its place in `sides.rows`.
        person: (m,) for each of `sides.rows`, a number that images of one identity and camera share; empty when every
            query keeps its own feature.
    """

    images: Sides
    sides: Sides
    entry: Int64[np.ndarray, " n"]
    person: Int64[np.ndarray, " m"]

    def __call__(self, features: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "m d"]:
        """Return the features of `sides.rows` from those of `images.rows`."""
        if len(self.sides.rows) < len(self.entry):
            features = group_means(features, self.entry)
        if len(self.person) == 0:
            return features
        count = len(self.sides.query)
        means = group_means(features, self.person)
        return np.concatenate([means[self.person[:count]], features[count:]])


def make_pooling(images: Sides, protocol: EvalProtocol, *, multi_query: bool = False) -> Pooling:
    """Return what turns features of `images` into what `protocol` ranks.

    Raises:
        UserError: for a tracklet with two identities, cameras or outfits, and for several images a query where the
            protocol would count some of them as answers.
    """
    if multi_query and Drop(same=("camid",)) not in protocol.drop:
        raise UserError(
            f"protocol {protocol.name!r} counts images of the query's own camera as answers",
            where="--multi-query",
            cure="judge by a protocol that leaves them out, such as market1501, or leave --multi-query out",
        )
    if protocol.unit == "tracklet":
        (query, asks), (gallery, answers) = (
            _tracklets(name, labels)
            for name, labels in (("query", images.query_labels), ("gallery", images.gallery_labels))
        )
        sides = Sides(
            dataset=images.dataset,
            query=images.query[query],
            gallery=images.gallery[gallery],
            query_labels=images.query_labels.take(query),
            gallery_labels=images.gallery_labels.take(gallery),
        )
        entry = np.concatenate([asks, answers + len(query)])
    else:
        sides, entry = images, np.arange(len(images.rows))
    person = _people(sides) if multi_query else np.empty(0, np.int64)
    return Pooling(images=images, sides=sides, entry=entry, person=person)


def group_means(features: Float32[np.ndarray, "n d"], group: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "g d"]:
    """Return the mean feature of each group 0, 1, ..., none of them empty."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    sums = np.add.reduceat(features[order], np.r_[0, np.cumsum(sizes)[:-1]], axis=0)
    return sums / sizes[:, None].astype(features.dtype)


def _tracklets(name: str, labels: Labels) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " n"]]:
    """Return the first image of each tracklet, in order of appearance, and each image's tracklet by place in it.

    An image whose tracklet is not known is one of its own.
    """
    tracks = labels.field("tracklet")
    alone = np.where(tracks < 0, np.arange(len(labels)), -1)
    pairs = np.stack([tracks, alone], axis=1)
    _, first, group = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    for field in ("pid", "camid", "outfit"):
        values: np.ndarray | None = getattr(labels, field)
        mixed = np.empty(0, np.int64) if values is None else np.flatnonzero(values != values[first[group]])
        if len(mixed):
            raise UserError(
                f"tracklet {int(tracks[mixed[0]])} has images with two values of {field!r}",
                where=f"{name} image {int(mixed[0])}",
                cure="give tracklets numbers that are unique over the data set",
            )
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return np.sort(first), place[group]


def _people(sides: Sides) -> Int64[np.ndarray, " m"]:
    """Number identity and camera; where either is not known, an image is on its own."""
    pid = np.concatenate([sides.query_labels.pid, sides.gallery_labels.pid])
    camid = np.concatenate([sides.query_labels.camid, sides.gallery_labels.camid])
    alone = np.where((pid < 0) | (camid < 0), np.arange(len(pid)), -1)
    _, person = np.unique(np.stack([pid, camid, alone], axis=1), axis=0, return_inverse=True)
    return person.reshape(-1)
