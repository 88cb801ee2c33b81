"""Which clusters to trust: those that stay themselves when DBSCAN looks a little closer and a little wider.

    R_comp(i)  = 1 - |C(i) & C_tight(i)| / |C(i) | C_tight(i)|      C(i): the images in the cluster of image i
    R_indep(i) = 1 - |C(i) & C_loose(i)| / |C(i) | C_loose(i)|

An image stays in its cluster when its R_comp is the least in that cluster, and the least R_indep of the cluster is at
most a threshold: in the first epoch the value below which nine tenths of the clusters lie, kept from then on. Noise
counts as clusters of one. Published code compares N x N matrices (2.5 GB at the size of Market-1501); the sizes of the
overlaps are a contingency table of two label columns, so here it is two sorts of N numbers.

Source: Ge et al. 2020 (SpCL, arXiv:2006.02713), section 3.2 and published code. Trade-off: the threshold is a state.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from resight.cluster.errors import UserError

__all__ = ["Reliable", "change", "reliable_labels"]


class Reliable(NamedTuple):
    """Labels of which the doubtful are noise.

    Attributes:
        labels: (N,) clusters by their old numbers, of which some may be gone; -1 for noise.
        threshold: largest R_indep of a cluster that is kept, in [0, 1]; to be given again in the next epoch.
    """

    labels: Int64[np.ndarray, " n"]
    threshold: float


def change(labels: Int64[np.ndarray, " n"], other: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return, for each image, 1 - intersection over union of its two clusters, in [0, 1).

    Args:
        labels: (N,) clusters; negative: noise, each a cluster of one.
        other: (N,) another clustering of the same images.
    """
    if labels.shape != other.shape:
        raise UserError(f"{len(labels)} labels and {len(other)} others", cure="give labels of the same images")
    one, own_size = _sizes(labels)
    two, other_size = _sizes(other)
    _, pair, count = np.unique(one * len(other_size) + two, return_inverse=True, return_counts=True)
    common = count[pair]
    return 1 - common / (own_size[one] + other_size[two] - common)


def reliable_labels(
    labels: Int64[np.ndarray, " n"],
    tight: Int64[np.ndarray, " n"],
    loose: Int64[np.ndarray, " n"],
    *,
    threshold: float | None = None,
    share: float = 0.9,
) -> Reliable:
    """Return the labels with doubtful images and clusters turned into noise.

    Args:
        labels: (N,) clusters, -1 for noise.
        tight: (N,) those at a smaller eps.
        loose: (N,) those at a larger eps.
        threshold: of an earlier epoch; None: taken from these clusters.
        share: of the clusters that lie below a threshold taken now.

    Raises:
        UserError: for label columns of other lengths, and when there is no cluster to take a threshold from.
    """
    compact, independent = change(labels, tight), change(labels, loose)
    found, cluster = np.unique(labels, return_inverse=True)
    least_compact, least_independent = _least(compact, cluster), _least(independent, cluster)
    clusters = found >= 0
    if threshold is None:
        several = clusters & (np.bincount(cluster) > 1)
        values = np.sort(least_independent[several])
        if len(values) == 0:
            raise UserError(f"{len(labels)} images form no cluster", where="eps", cure="use a larger eps")
        threshold = float(values[min(len(values) - 1, round(len(values) * share))])
    kept = clusters & (least_independent <= threshold)
    kept_images = kept[cluster] & (compact <= least_compact[cluster])
    return Reliable(np.where(kept_images, labels, -1), threshold)


def _sizes(labels: Int64[np.ndarray, " n"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " c"]]:
    """Return the labels from 0 on, noise numbered one by one, and the size of each."""
    noise = labels < 0
    numbered = np.where(noise, 0, labels)
    numbered[noise] = labels.max(initial=-1) + 1 + np.arange(noise.sum())
    return numbered, np.bincount(numbered)


def _least(values: Float64[np.ndarray, " n"], cluster: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " c"]:
    least = np.full(cluster.max(initial=-1) + 1, np.inf)
    np.minimum.at(least, cluster, values)
    return least
