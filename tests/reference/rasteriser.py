"""A slow, obvious rasteriser in float64: for every pixel every triangle, no snapping, no tricks.

Source: the definition. A pixel's centre sees the nearest of the triangles that contain it and face the camera; inverse
depth is linear in the image (Blinn 1992, hyperbolic interpolation).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Seen:
    """(h, w) each: triangle number or -1; depth in metres or inf; how safe the answer is, in pixels and in metres."""

    face: np.ndarray
    depth: np.ndarray
    margin: np.ndarray
    gap: np.ndarray


def rasterise(pixels: np.ndarray, depths: np.ndarray, faces: np.ndarray, height: int, width: int) -> Seen:
    """Look through every pixel's centre.

    Args:
        pixels: (v, 2) x, y in pixels, y downwards.
        depths: (v,) metres.
        faces: (f, 3), counter-clockwise in the world: clockwise on the screen, where y points down.
        height: pixels.
        width: pixels.

    Returns:
        Among the rest `margin`, the distance of the pixel's centre to the nearest edge of any triangle, and `gap`, how
        much farther the second nearest triangle is.
    """
    face = np.full((height, width), -1)
    depth, margin, gap = (np.full((height, width), np.inf) for _ in range(3))
    for row in range(height):
        for column in range(width):
            centre = np.array([column + 0.5, row + 0.5])
            hits: list[tuple[float, int]] = []
            for number, corners in enumerate(faces):
                inside, away, near = _look(centre, pixels[corners], depths[corners])
                margin[row, column] = min(margin[row, column], away)
                if inside:
                    hits.append((near, number))
            if hits:
                hits.sort()
                depth[row, column], face[row, column] = hits[0]
                gap[row, column] = hits[1][0] - hits[0][0] if len(hits) > 1 else np.inf
    return Seen(face=face, depth=depth, margin=margin, gap=gap)


def _look(centre: np.ndarray, corners: np.ndarray, depths: np.ndarray) -> tuple[bool, float, float]:
    """Whether a triangle contains the point and faces us, the distance to its outline, and its depth there."""
    away = min(_to_segment(centre, corners[k], corners[(k + 1) % 3]) for k in range(3))
    area = _cross(corners[1] - corners[0], corners[2] - corners[0])
    if area >= 0:  # seen from behind, or edge-on
        return False, away, np.inf
    weights = [
        _cross(corners[(k + 2) % 3] - corners[(k + 1) % 3], centre - corners[(k + 1) % 3]) / area for k in range(3)
    ]
    return min(weights) >= 0, away, 1 / float(np.dot(weights, 1 / depths))


def _cross(a: np.ndarray, b: np.ndarray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _to_segment(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    along = end - start
    share = np.clip(np.dot(point - start, along) / max(float(along @ along), 1e-12), 0, 1)
    return float(np.linalg.norm(point - start - share * along))
