"""Clean edges on any mesh: faces are cut in two where a quantity given at vertices crosses a level.

What: `cut_faces` puts new vertices on the crossed edges. Why: a part that ends at whole triangles has a ragged neckline
and ragged shoes; cut along the level line it ends where it should. Every array known at vertices is carried over
linearly, so the new vertices are shaped and skinned as points of the old edges. Source: own; a contour through
triangles has two cases, one corner alone or one on the line. Trade-off: skinning is not linear across an edge, so under
strong bends a new vertex leaves its old edge by a fraction of a millimetre.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Cut", "cut_faces"]

_SNAP: Final = 0.12
"""Share of an edge within which a crossing is moved to the edge's end: no slivers."""


class Cut:
    """Where new vertices lie: `parents` (N, 2) old ends and `share` (N,) of the second, for `mix`."""

    def __init__(self, parents: Int[np.ndarray, "n 2"], share: Float[np.ndarray, "n"]) -> None:
        self.parents, self.share = parents, share

    def mix(self, values: np.ndarray) -> np.ndarray:
        """Append the new vertices' rows to an array by vertex."""
        if not len(self.parents):
            return values
        first, second = values[self.parents[:, 0]], values[self.parents[:, 1]]
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return np.concatenate([values, first + (second - first) * share])


def cut_faces(
    faces: Int[np.ndarray, "f 3"], value: Float[np.ndarray, "v"], level: float
) -> tuple[Int[np.ndarray, "g 3"], Cut]:
    """Cut the faces that cross a level.

    Args:
        faces: of a mesh; each keeps its winding.
        value: at its vertices, varying linearly in between.
        level: where to cut.

    Returns:
        The faces, none of which crosses the level by more than the snapping, and how to make the new vertices.
    """
    above = _snapped(faces, value - level)
    new: dict[tuple[int, int], int] = {}
    parents: list[tuple[int, int]] = []

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in new:
            new[key] = len(value) + len(parents)
            parents.append(key)
        return new[key]

    out: list[tuple[int, int, int]] = []
    signs = np.sign(above)[faces]
    crossed = (signs.min(axis=1) < 0) & (signs.max(axis=1) > 0)
    for corners in faces[crossed].tolist():
        out += _split(corners, above, crossing)
    share = np.array([above[a] / (above[a] - above[b]) for a, b in parents])
    cut = Cut(np.array(parents, np.int64).reshape(-1, 2), share)
    return np.concatenate([faces[~crossed], np.array(out, faces.dtype).reshape(-1, 3)]), cut


def _snapped(faces: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Set the ends of edges that are crossed close by to zero: the level line then runs through them."""
    out = above.copy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    a, b = above[edges[:, 0]], above[edges[:, 1]]
    crossed = a * b < 0
    share = np.where(crossed, a / np.where(crossed, a - b, 1.0), 0.5)
    out[edges[crossed & (share < _SNAP), 0]] = 0.0
    out[edges[crossed & (share > 1 - _SNAP), 1]] = 0.0
    return out


def _split(corners: list[int], above: np.ndarray, crossing: Callable[[int, int], int]) -> list[tuple[int, int, int]]:
    """Cut one triangle that has corners on both sides."""
    signs = [int(np.sign(above[corner])) for corner in corners]
    if 0 in signs:
        turn = signs.index(0)
        a, b, c = corners[turn:] + corners[:turn]
        middle = crossing(b, c)
        return [(a, b, middle), (a, middle, c)]
    lone = next(place for place in range(3) if signs.count(signs[place]) == 1)
    a, b, c = corners[lone:] + corners[:lone]
    near, far = crossing(a, b), crossing(a, c)
    return [(a, near, far), (near, b, c), (near, c, far)]
