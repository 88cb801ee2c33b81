"""Fewer vertices without new ones: a closed mesh is thinned by collapsing edges into one of their ends.

What: `thin` returns which vertices stay and the faces between them. Why: because the vertices that stay are a subset,
everything known of them (shape directions, weights) stays exact, and a principal component analysis on the subset is
one on the body. Left and right are thinned together, so a symmetric mesh stays so.
Source: Garland and Heckbert 1997 (quadric error), in the half-edge form of Kobbelt et al. 1998; the link condition is
that of Dey et al. 1999. Trade-off: slightly larger errors than with optimally placed vertices, and plain Python: some
ten seconds, once, when a body is baked.
"""

import heapq
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["mirror_of", "thin"]

_FLIP: Final = 0.2
"""Cosine between a face's normals before and after; a collapse that turns one further is not made."""


def mirror_of(vertices: Float[np.ndarray, "v 3"], tolerance: float = 1e-4) -> Int[np.ndarray, "v"]:
    """Return each vertex's partner on the other side; itself on the midline.

    Raises:
        ValueError: some vertex has no partner within `tolerance` metres.
    """
    from scipy.spatial import KDTree

    distance, nearest = KDTree(vertices).query(vertices * np.array([-1.0, 1.0, 1.0]))
    partner = np.asarray(nearest, np.int64)
    if distance.max() > tolerance or not np.array_equal(partner[partner], np.arange(len(vertices))):
        raise ValueError(f"the mesh is not symmetric: a vertex is {distance.max():.2e} m from its mirror image")
    return partner


def thin(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    *,
    target: int,
    mirror: Int[np.ndarray, "v"],
    worth: Float[np.ndarray, "v"],
    features: Float[np.ndarray, "v k"],
    hidden: Bool[np.ndarray, "v"],
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m 3"]]:
    """Collapse edges until `target` vertices are left, or nothing more can go.

    Args:
        vertices: of a closed manifold, metres, symmetric about x = 0.
        faces: counter-clockwise seen from outside.
        target: vertices to keep.
        mirror: what `mirror_of` returned.
        worth: factor on the error of losing a vertex.
        features: further coordinates, in metres, whose loss counts as a distance (such as weights times a length).
        hidden: vertices nobody sees; they go first and cost nothing.

    Returns:
        Numbers of the vertices that stay, and faces in their new numbers.
    """
    mesh = _Mesh(vertices, faces, mirror)
    queue = [(mesh.cost(a, b, worth, features, hidden), a, b) for a in range(len(vertices)) for b in mesh.around(a)]
    heapq.heapify(queue)
    while mesh.alive > target and queue:
        cost, a, b = heapq.heappop(queue)
        if a not in mesh.ring or b not in mesh.ring[a]:
            continue
        now = mesh.cost(a, b, worth, features, hidden)
        if now > cost * (1 + 1e-9) + 1e-15:
            heapq.heappush(queue, (now, a, b))
            continue
        for c, d in mesh.collapse_both(a, b):
            for other in mesh.around(d):
                heapq.heappush(queue, (mesh.cost(other, d, worth, features, hidden), other, d))
                heapq.heappush(queue, (mesh.cost(d, other, worth, features, hidden), d, other))
            del c
    return mesh.result()


class _Mesh:
    """Faces by vertex, and the sum of squared distances to the planes each vertex has swallowed."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, mirror: np.ndarray) -> None:
        self.at = np.asarray(vertices, np.float64)
        self.mirror = mirror.tolist()
        self.faces: dict[int, tuple[int, int, int]] = dict(enumerate(map(tuple, faces.tolist())))
        self.ring: dict[int, dict[int, None]] = {}
        self.of: dict[int, set[int]] = {vertex: set() for vertex in range(len(vertices))}
        for number, corners in self.faces.items():
            for corner in corners:
                self.of[corner].add(number)
        for vertex in self.of:
            self.ring[vertex] = self._around(vertex)
        self.quadric = _quadrics(self.at, faces)

    @property
    def alive(self) -> int:
        return len(self.ring)

    def around(self, vertex: int) -> list[int]:
        return list(self.ring[vertex])

    def _around(self, vertex: int) -> dict[int, None]:
        found = sorted({corner for face in self.of[vertex] for corner in self.faces[face]} - {vertex})
        return dict.fromkeys(found)

    def cost(self, a: int, b: int, worth: np.ndarray, features: np.ndarray, hidden: np.ndarray) -> float:
        """Error of moving a into b; square metres times square metres of surface."""
        if hidden[a]:
            return 1e-12 * float(np.sum((self.at[a] - self.at[b]) ** 2))
        if hidden[b]:
            return np.inf
        place = np.append(self.at[b], 1.0)
        lost = float(place @ self.quadric[a] @ place)
        gap, step = features[a] - features[b], self.at[a] - self.at[b]
        length = float(step @ step)
        return worth[a] * (max(lost, 0.0) + length * (float(gap @ gap) + 2e-4 * length))

    def collapse_both(self, a: int, b: int) -> list[tuple[int, int]]:
        """Move a into b, and their mirror images alike; returns what was done, nothing when it may not be."""
        c, d = self.mirror[a], self.mirror[b]
        middle_a, middle_b = c == a, d == b
        if (middle_a and not middle_b) or c == b:
            return []
        pairs = [(a, b)] if middle_a else [(a, b), (c, d)]
        if not middle_a and not middle_b and (set(self.ring[a]) | {a, b}) & {c, d}:
            return []  # too near the midline to be two collapses
        if not all(self._allowed(one, other) for one, other in pairs):
            return []
        done: list[tuple[int, int]] = []
        for one, other in pairs:
            if not self._allowed(one, other):  # the first of the pair changed it, which only the midline can
                assert done, "a checked collapse is allowed"
                break
            self._collapse(one, other)
            done.append((one, other))
        return done

    def _allowed(self, a: int, b: int) -> bool:
        if a not in self.ring or b not in self.ring[a]:
            return False
        shared = self.ring[a].keys() & self.ring[b].keys()
        if len(shared) != 2 or any(len(self.ring[vertex]) <= 3 for vertex in shared):
            return False
        for face in self.of[a] - self.of[b]:
            corners = self.at[list(self.faces[face])]
            moved = self.at[[b if corner == a else corner for corner in self.faces[face]]]
            before = np.cross(corners[1] - corners[0], corners[2] - corners[0])
            after = np.cross(moved[1] - moved[0], moved[2] - moved[0])
            if before @ after < _FLIP * np.sqrt((before @ before) * (after @ after)) or after @ after < 1e-16:
                return False
        return True

    def _collapse(self, a: int, b: int) -> None:
        touched = set(self.ring[a]) | {b}
        for face in list(self.of[a]):
            corners = self.faces[face]
            if b in corners:
                del self.faces[face]
                for corner in corners:
                    self.of[corner].discard(face)
            else:
                x, y, z = (b if corner == a else corner for corner in corners)
                self.faces[face] = (x, y, z)
                self.of[b].add(face)
        del self.of[a], self.ring[a]
        self.quadric[b] += self.quadric[a]
        for vertex in touched - {a}:
            self.ring[vertex] = self._around(vertex)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        kept = np.array(sorted(self.ring))
        number = np.full(len(self.at), -1)
        number[kept] = np.arange(len(kept))
        faces = number[np.array([self.faces[face] for face in sorted(self.faces)])]
        assert faces.min() >= 0, "every face stands on vertices that stayed"
        return kept, faces


def _quadrics(at: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 4, 4) sums over the faces of a vertex of area times squared distance to their planes."""
    a, b, c = (at[faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    double = np.sqrt(np.sum(normal**2, axis=1, keepdims=True))
    normal = normal / np.maximum(double, 1e-18)
    plane = np.concatenate([normal, -np.sum(normal * a, axis=1, keepdims=True)], axis=1)
    each = 0.5 * double[..., None] * plane[:, :, None] * plane[:, None, :] / 3
    out = np.zeros((len(at), 4, 4))
    for corner in range(3):
        np.add.at(out, faces[:, corner], each)
    return out
