"""The losses and their gradients in plain numpy, float64, one sample at a time, written from the papers."""

import numpy as np


def smoothed_cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> tuple[float, np.ndarray]:
    """Szegedy et al. 2016, section 7: the target is (1 - eps) one-hot + eps / K. Rows labelled -1 are left out."""
    rows = [i for i in range(len(labels)) if labels[i] >= 0]
    loss, gradient = 0.0, np.zeros_like(logits)
    classes = logits.shape[1]
    for i in rows:
        shifted = np.exp(logits[i] - logits[i].max())
        p = shifted / shifted.sum()
        target = np.full(classes, smoothing / classes)
        target[labels[i]] += 1 - smoothing
        loss -= float(target @ np.log(p)) / len(rows)
        gradient[i] = (p - target) / len(rows)
    return loss, gradient


def batch_hard_triplet(features: np.ndarray, labels: np.ndarray, margin: float | None) -> tuple[float, np.ndarray]:
    """Hermans et al. 2017, eq. 5, or the soft margin; anchors are their own positives; -1 is left out."""
    rows = [i for i in range(len(labels)) if labels[i] >= 0]
    anchors = [i for i in rows if any(labels[j] != labels[i] for j in rows)]
    loss, gradient = 0.0, np.zeros_like(features)
    for i in anchors:
        distance = {j: max(float(np.linalg.norm(features[i] - features[j])), 1e-6) for j in rows}
        far = max((j for j in rows if labels[j] == labels[i]), key=lambda j: distance[j])
        near = min((j for j in rows if labels[j] != labels[i]), key=lambda j: distance[j])
        gap = distance[far] - distance[near]
        if margin is None:
            value, slope = float(np.logaddexp(0, gap)), 1 / (1 + np.exp(-gap))
        else:
            value, slope = max(0.0, margin + gap), float(margin + gap > 0)
        loss += value / len(anchors)
        for j, sign in ((far, 1.0), (near, -1.0)):
            if distance[j] > 1e-6:
                pull = sign * slope / len(anchors) * (features[i] - features[j]) / distance[j]
                gradient[i] += pull
                gradient[j] -= pull
    return loss, gradient
