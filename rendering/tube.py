"""A closed tube of elliptical rings: the only shape the capsule body is made of.

Rings are superellipses with different depths in front and behind, so one ring can have a belly and a flat back.
Source: generalised cylinders (Binford 1971) with Barr's superellipses (1981). Trade-off: a ring is never tilted by the
curve of its tube; the axes are given, which keeps limbs free of twist.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

__all__ = ["Tube", "axes"]


def axes(rings: int, right: tuple[float, float, float], front: tuple[float, float, float]) -> dict[str, np.ndarray]:
    """Return the same plane for every ring, as the arguments `right` and `front` of a `Tube`."""
    return {"right": np.tile(right, (rings, 1)), "front": np.tile(front, (rings, 1))}


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """R rings, from one closed end to the other.

    Attributes:
        at: (R,) own coordinate of each ring: height above the floor in the mean body, or position along the limb.
        centre: (R, 3) ring centres, metres.
        right: (R, 3) unit axes of the half-widths.
        front: (R, 3) unit axes of the depths.
        half: (R,) half-widths, metres.
        ahead: (R,) depths along +front, metres.
        behind: (R,) depths along -front, metres.
        square: (R,) exponents, 2 an ellipse, larger squarer.
        along: (R,) position along the limb in [0, 1].
        part: (R - 1,) part ids of the bands between rings.
        sides: number of vertices of a ring, even.
    """

    at: np.ndarray
    centre: np.ndarray
    right: np.ndarray
    front: np.ndarray
    half: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray
    square: np.ndarray
    along: np.ndarray
    part: np.ndarray
    sides: int

    def __len__(self) -> int:
        """Count the vertices: rings, then two poles."""
        return len(self.at) * self.sides + 2

    def vertices(self) -> Float[np.ndarray, "v 3"]:
        """Return ring after ring, then the two poles."""
        angle = 2.0 * np.pi * np.arange(self.sides) / self.sides
        cos, sin = np.round(np.cos(angle), 12), np.round(np.sin(angle), 12)
        power = 2.0 / self.square[:, None]
        u = self.half[:, None] * np.sign(cos) * np.abs(cos) ** power
        depth = np.where(sin > 0, self.ahead[:, None], self.behind[:, None])
        v = depth * np.sign(sin) * np.abs(sin) ** power  # (R, sides)
        rings = self.centre[:, None] + u[..., None] * self.right[:, None] + v[..., None] * self.front[:, None]
        return np.concatenate([rings.reshape(-1, 3), self.centre[[0, -1]]])

    def spread(self, of_ring: np.ndarray) -> Float[np.ndarray, "v"]:
        """Give each vertex, in the order of `vertices`, its ring's value."""
        return np.concatenate([np.repeat(of_ring, self.sides), of_ring[[0, -1]]])

    def sides_of(self, at: float) -> tuple[int, int]:
        """Return the two vertices at the ends of the width of the ring at `at`; their mean is the ring's centre."""
        ring = int(np.argmin(np.abs(self.at - at)))
        assert abs(self.at[ring] - at) < 1e-9, f"no ring at {at}"
        return ring * self.sides, ring * self.sides + self.sides // 2

    def faces(self) -> tuple[Int[np.ndarray, "f 3"], UInt8[np.ndarray, "f"]]:
        """Return faces and their part ids; wound so that the enclosed volume is positive."""
        here = np.arange(self.sides)
        there = (here + 1) % self.sides
        first = np.arange(len(self.at) - 1)[:, None] * self.sides
        a, b, c, d = first + here, first + there, first + here + self.sides, first + there + self.sides
        bands = np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], axis=2).reshape(-1, 3)
        pole, last = len(self.at) * self.sides, (len(self.at) - 1) * self.sides
        top = np.stack([np.full(self.sides, pole), there, here], axis=1)
        end = np.stack([np.full(self.sides, pole + 1), last + here, last + there], axis=1)
        faces = np.concatenate([bands, top, end])
        part = np.concatenate([np.repeat(self.part, 2 * self.sides), np.repeat(self.part[[0, -1]], self.sides)])
        x, y, z = np.moveaxis(self.vertices()[faces], 1, 0)
        outward = float(np.sum(x * np.cross(y, z))) > 0
        return (faces if outward else faces[:, ::-1]), part.astype(np.uint8)

    def mirrored(self) -> "Tube":
        """Return the tube of the right side for one of the left; right part ids follow left ones."""
        flip = np.array([-1.0, 1.0, 1.0])
        sides = {name: getattr(self, name) * flip for name in ("centre", "right", "front")}
        return replace(self, part=self.part + 1, **sides)
