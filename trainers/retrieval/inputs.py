"""What evaluation accepts, and the sentences it refuses the rest with.

Source: the questions users of other toolkits ask most: "all query identities do not appear in gallery", no camera ids.
Trade-off: every check costs O(Q + G); values of features are checked through their distances, so for free.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from resight.cluster.errors import UserError
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.protocol import EvalProtocol

__all__ = [
    "check_count",
    "check_features",
    "check_labels",
    "check_matches",
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


def check_labels(name: str, pids: object, camids: object, count: int) -> Labels:
    """Return the labels of `count` images as int64; UserError for another length or type."""
    checked = {field: _column(f"{name} {field}", values, count) for field, values in (("pid", pids), ("camid", camids))}
    return Labels(pid=checked["pid"], camid=checked["camid"])


def check_matches(skipped: Mapping[str, int], queries: int, protocol: EvalProtocol, max_skipped: float) -> None:
    """Refuse an evaluation in which more than the share `max_skipped` of queries, or all, can find nothing."""
    count = sum(skipped.values())
    if count < queries and count <= max_skipped * queries:
        return
    reason = max(skipped, key=lambda key: skipped[key])
    raise UserError(
        f"{count} of {queries} queries have no possible match in the gallery, mostly: {reason}",
        where=f"protocol {protocol.name!r}",
        cure=_CURES[reason],
    )


def not_finite(query: int) -> UserError:
    """Return the error for a distance that is NaN or infinite."""
    return UserError(
        "a distance is NaN or infinite",
        where=f"query {query}, or the gallery",
        cure="check the features: a diverged model gives NaN, float16 overflows above 65504",
    )


NO_IDENTITY = "query has no identity"
ABSENT = "identity not in the gallery"
DROPPED = "all matches dropped by the protocol"

_CURES = {
    NO_IDENTITY: "give query images identities of 0 or more",
    ABSENT: "use the same identity numbers in query and gallery (do not relabel them apart)",
    DROPPED: "judge by 'no_camera' (--protocol no_camera) where all crops are of one camera or cameras are not known",
}


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
