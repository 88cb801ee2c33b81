"""What evaluation accepts, and the sentences it refuses the rest with.

Source: the questions users of other toolkits ask most: "all query identities do not appear in gallery", no camera ids.
Trade-off: every check costs O(Q + G); values of features are checked through their distances, so for free, and are
looked through again only to name the image at fault.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from resight.cluster.errors import UserError
from resight.trainers.retrieval.blocks import Distance, FeatureRows, Rows
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.protocol import EvalProtocol

__all__ = [
    "check_count",
    "check_directions",
    "check_features",
    "check_labels",
    "check_matches",
    "check_protocol",
    "check_shape",
    "not_finite",
    "unit_features",
]

_ROWS = 1024  # looked at at a time


def check_features(query: Shaped[np.ndarray, "..."], gallery: Shaped[np.ndarray, "..."]) -> None:
    """Refuse features that are not two non-empty tables of equal width."""
    for name, features in (("query", query), ("gallery", gallery)):
        if features.ndim != 2:
            raise UserError(f"{name} features have shape {features.shape}", cure="give one row of numbers an image")
        _not_empty(name, len(features))
    if query.shape[1] != gallery.shape[1]:
        raise UserError(
            f"query features have {query.shape[1]} numbers an image, gallery features {gallery.shape[1]}",
            cure="extract both with the same model",
        )


def check_directions(query: Shaped[np.ndarray, "q d"], gallery: Shaped[np.ndarray, "g d"], distance: Distance) -> None:
    """Refuse features that order nothing: a gallery of equal vectors, and zero vectors where angles are compared."""
    same = len(gallery) > 1 and np.array_equal(gallery[0], gallery[1]) and bool(np.isfinite(gallery[0]).all())
    if same and bool((gallery == gallery[0]).all()):
        raise UserError(
            f"all {len(gallery)} gallery features are the same vector, so every ranking is a tie",
            where="gallery features",
            cure="check the network: a collapsed one gives one vector for every image",
        )
    for name, features in (("query", query), ("gallery", gallery)):
        if distance == "cosine" and (zero := first_zero(features)) >= 0:
            raise UserError(
                "a feature is the zero vector, which has no direction to compare",
                where=f"{name} image {zero}",
                cure="check the network's output there, or compare by squared Euclidean distance",
            )


def first_zero(features: Shaped[np.ndarray, "n d"]) -> int:
    """Return the first row of zeros, or -1; each column narrows down which rows are left."""
    suspects = np.arange(len(features))
    for column in features.T:
        suspects = suspects[column[suspects] == 0]
        if len(suspects) == 0:
            return -1
    return int(suspects[0])


def check_protocol(query: Labels, gallery: Labels, protocol: EvalProtocol) -> None:
    """Refuse labels that `protocol` cannot be judged by."""
    where = f"protocol {protocol.name!r}"
    for name, labels in (("query", query), ("gallery", gallery)):
        people = labels.pid >= 0
        for field in protocol.needs:
            unknown = int((labels.field(field)[people] < 0).sum())
            if unknown:
                raise UserError(
                    f"{unknown} of {int(people.sum())} {name} images of people have no label {field!r}",
                    where=where,
                    cure=f"pack the data with its {field} labels, or judge by 'market1501' (--protocol market1501)",
                )
    if protocol.queries == "rest" and not np.array_equal(query.pid, gallery.pid):
        raise UserError(
            f"the {len(query)} query images are not the {len(gallery)} gallery images",
            where=where,
            cure="give the same images as query and gallery: the protocol draws which of them answer",
        )
    found = len(np.unique(gallery.pid[gallery.pid >= 0]))
    if protocol.identities is not None and found != protocol.identities:
        raise UserError(
            f"the test set has {found} identities, the published one {protocol.identities}",
            where=where,
            cure="pack the test list of that size, or choose the protocol of this one",
        )
    for name, labels, cameras in (
        ("query", query, protocol.query_cameras),
        ("gallery", gallery, protocol.gallery_cameras),
    ):
        if cameras and not np.isin(labels.camid, cameras).any():
            there = ", ".join(str(camera) for camera in np.unique(labels.camid)[:10])
            raise UserError(
                f"no {name} image is of camera {' or '.join(str(camera) for camera in cameras)}, there are: {there}",
                where=where,
                cure="judge by a protocol of this data set",
            )


def check_count(count: int) -> None:
    """Refuse more images than 32-bit columns can number."""
    if count > np.iinfo(np.int32).max:
        raise UserError(f"{count} images are more than a table can number", cure="give fewer than 2^31")


def unit_features(features: Shaped[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Return features at length 1, without a copy where they are so already.

    Raises:
        UserError: when they are no table, too many, not finite, of length 0, or all the same.
    """
    features = np.asarray(features)
    check_features(features, features)
    check_count(len(features))
    parts = range(0, len(features), _ROWS)
    lengths = np.concatenate([np.linalg.norm(features[at : at + _ROWS].astype(np.float64), axis=1) for at in parts])
    if not np.isfinite(lengths).all():
        raise UserError(
            "features are NaN or infinite",
            where=f"image {np.flatnonzero(~np.isfinite(lengths))[0]}",
            cure="check the network: a diverged model gives NaN, float16 overflows above 65504",
        )
    if (zero := np.flatnonzero(lengths == 0)).size:
        raise UserError(
            f"features of {len(zero)} of {len(features)} images are all zero, so they have no direction",
            where=f"image {zero[0]}",
            cure="leave these images out, or check the network that made them",
        )
    if len(features) > 1 and all((features[at : at + _ROWS] == features[0]).all() for at in parts):
        raise UserError(
            f"all {len(features)} images have the same features", cure="check the network: it has collapsed"
        )
    if features.dtype == np.float32 and np.abs(lengths - 1).max() < 1e-6:
        return np.ascontiguousarray(features)
    return np.divide(features, lengths[:, None], dtype=np.float32, casting="unsafe")


def check_shape(distances: Shaped[np.ndarray, "..."]) -> None:
    """Refuse what is not a non-empty matrix of distances."""
    if distances.ndim != 2:
        raise UserError(f"distances have shape {distances.shape}", cure="give a matrix: queries x gallery")
    _not_empty("query", distances.shape[0])
    _not_empty("gallery", distances.shape[1])


def check_labels(name: str, pids: object, camids: object, count: int, *, outfits: object = None) -> Labels:
    """Return the labels of `count` images as int64; UserError for another length or type."""
    return Labels(
        pid=_column(f"{name} pid", pids, count),
        camid=_column(f"{name} camid", camids, count),
        outfit=None if outfits is None else _column(f"{name} outfit", outfits, count),
    )


def check_matches(skipped: Mapping[str, int], queries: int, protocol: EvalProtocol, max_skipped: float) -> None:
    """Refuse an evaluation in which more than the share `max_skipped` of queries, or all, can find nothing."""
    count = sum(skipped.values())
    if queries == 0:
        raise UserError(
            "the protocol leaves nobody to ask",
            where=f"protocol {protocol.name!r}",
            cure="give identities two images or more, of the cameras that the protocol asks",
        )
    if count < queries and count <= max_skipped * queries:
        return
    reason = max(skipped, key=lambda key: skipped[key])
    raise UserError(
        f"{count} of {queries} queries have no possible match in the gallery, mostly: {reason}",
        where=f"protocol {protocol.name!r}",
        cure=_SAME_CLOTHES if reason == DROPPED and "outfit" in protocol.needs else _CURES[reason],
    )


def not_finite(query: int, rows: Rows) -> UserError:
    """Return the error for a distance of `query` that is NaN or infinite; from features it names the image."""
    where = f"query {query}, or the gallery"
    if isinstance(rows, FeatureRows):
        bad = np.flatnonzero(~np.isfinite(rows.gallery).all(axis=1))
        if not np.isfinite(rows.query[query]).all():
            where = f"query image {query}"
        elif len(bad):
            where = f"gallery image {int(bad[0])}"
    return UserError(
        "a distance is NaN or infinite",
        where=where,
        cure="check the features: a diverged model gives NaN, float16 overflows above 65504",
    )


NO_IDENTITY = "query has no identity"
ABSENT = "identity not in the gallery"
DROPPED = "all matches dropped by the protocol"
NOT_ASKED = "not asked by the protocol"

_CURES = {
    NO_IDENTITY: "give query images identities of 0 or more",
    ABSENT: "use the same identity numbers in query and gallery (do not relabel them apart)",
    DROPPED: "judge by 'no_camera' (--protocol no_camera) where all crops are of one camera or cameras are not known",
}
_SAME_CLOTHES = "judge by 'market1501' (--protocol market1501) where clothes or cameras leave nothing to find"


def _not_empty(name: str, count: int) -> None:
    if count == 0:
        raise UserError(f"there are no {name} images", cure=f"check the data set's {name!r} split")


def _column(name: str, values: object, count: int) -> np.ndarray:
    column = np.asarray(values)
    if column.shape != (count,):
        raise UserError(
            f"{name} has shape {column.shape}, but there are {count} images", cure="give one number an image"
        )
    if not np.issubdtype(column.dtype, np.integer):
        raise UserError(f"{name} holds {column.dtype}, not whole numbers", cure="give integers")
    return column.astype(np.int64)
