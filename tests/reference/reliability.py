"""Slow and obvious, float64, dense: SpCL's reliability (arXiv:2006.02713) as the published code computes it."""

import numpy as np


def own_numbers(labels: np.ndarray) -> np.ndarray:
    """Every noise image as a cluster of its own, numbered after the others."""
    found, after = labels.copy(), labels.max() + 1
    for i in np.flatnonzero(labels < 0):
        found[i], after = after, after + 1
    return found


def change(labels: np.ndarray, other: np.ndarray) -> np.ndarray:
    same, same_there = ((each[:, None] == each).astype(np.float64) for each in map(own_numbers, (labels, other)))
    return 1 - np.minimum(same, same_there).sum(axis=1) / np.maximum(same, same_there).sum(axis=1)


def reliable(
    labels: np.ndarray, tight: np.ndarray, loose: np.ndarray, threshold: float | None
) -> tuple[list[int], float]:
    compact, independent, own = change(labels, tight), change(labels, loose), own_numbers(labels)
    clusters = sorted(set(own.tolist()))
    least_compact = {c: min(compact[own == c]) for c in clusters}
    least_independent = {c: min(independent[own == c]) for c in clusters}
    limit = threshold
    if limit is None:
        values = sorted(least_independent[c] for c in clusters if (own == c).sum() > 1)
        limit = values[min(len(values) - 1, int(np.round(len(values) * 0.9)))]
    kept = [least_independent[c] <= limit and compact[i] <= least_compact[c] for i, c in enumerate(own.tolist())]
    return [int(label) if keep else -1 for label, keep in zip(labels, kept, strict=True)], limit
