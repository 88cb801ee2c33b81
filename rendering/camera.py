"""A pinhole camera, and crops of its image.

Convention: camera axes x right, y down, z forward (as in OpenCV); pixel (column i, row j) has its centre at (i + 0.5,
j + 0.5). A crop resized to another size is again such a camera with other focal lengths and another principal point,
so a detector's box needs no image of the whole scene.
Products are summed in one order, not in that of whichever matrix library a machine has.
Source: Hartley and Zisserman 2004, chapter 6. Trade-off: no lens distortion.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64
from numba import njit

__all__ = ["Camera", "look_at", "project_points"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """Where it stands and what it sees.

    Attributes:
        position: (3,) centre of projection in the world, metres.
        rotation: (3, 3) world to camera; rows are the camera's right, down and forward in the world.
        focal: focal lengths in x and y, pixels; they differ after a crop is squeezed.
        principal: principal point x, y, pixels; may lie outside the image.
        height, width: size of the image, pixels.
    """

    position: Float[np.ndarray, "3"]
    rotation: Float[np.ndarray, "3 3"]
    focal: tuple[float, float]
    principal: tuple[float, float]
    height: int
    width: int

    def project(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Return x, y in pixels and depth along the axis in metres, float64; depth <= 0 lies behind the camera."""
        points = np.ascontiguousarray(points, np.float64)
        seen = np.empty_like(points)
        position, rotation = np.asarray(self.position, np.float64), np.ascontiguousarray(self.rotation, np.float64)
        project_points(points.reshape(-1, 3), position, rotation, *self.focal, *self.principal, seen.reshape(-1, 3))
        return seen

    def crop(self, left: float, top: float, right: float, bottom: float, *, height: int, width: int) -> "Camera":
        """Return the camera whose image is this box of ours, in pixels, resized to `height` x `width`.

        Raises:
            ValueError: the box has no area.
        """
        if right <= left or bottom <= top:
            raise ValueError(f"the box {(left, top, right, bottom)} has no area")
        sx, sy = width / (right - left), height / (bottom - top)
        return replace(
            self,
            focal=(self.focal[0] * sx, self.focal[1] * sy),
            principal=((self.principal[0] - left) * sx, (self.principal[1] - top) * sy),
            height=height,
            width=width,
        )

    def framing(self, points: Float[np.ndarray, "n 3"], *, height: int, width: int, margin: float = 0.05) -> "Camera":
        """Return the crop that shows all `points` (in front of us) undistorted, with a margin in box sizes a side."""
        pixel = self.project(points)[:, :2]
        low, high = pixel.min(axis=0), pixel.max(axis=0)
        middle, size = (low + high) / 2, (high - low) * (1 + 2 * margin)
        size = max(float(size[1]), float(size[0]) * height / width) * np.array([width / height, 1.0])
        (left, top), (right, bottom) = (middle - size / 2).tolist(), (middle + size / 2).tolist()
        return self.crop(left, top, right, bottom, height=height, width=width)


@njit(cache=True, nogil=True, error_model="numpy")
def project_points(
    points: Float64[np.ndarray, "n 3"],
    position: Float64[np.ndarray, "3"],
    rotation: Float64[np.ndarray, "3 3"],
    focal_x: float,
    focal_y: float,
    principal_x: float,
    principal_y: float,
    seen: Float64[np.ndarray, "n 3"],
) -> None:
    """Fill `seen` with x, y in pixels and depth in metres; the camera's attributes are as in `Camera`."""
    for point in range(points.shape[0]):
        x, y, z = points[point, 0] - position[0], points[point, 1] - position[1], points[point, 2] - position[2]
        across = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
        down = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
        depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        seen[point, 0] = across / depth * focal_x + principal_x
        seen[point, 1] = down / depth * focal_y + principal_y
        seen[point, 2] = depth


def look_at(
    position: tuple[float, float, float] | Float[np.ndarray, "3"],
    target: tuple[float, float, float] | Float[np.ndarray, "3"],
    *,
    focal: float,
    height: int,
    width: int,
    roll: float = 0.0,
) -> Camera:
    """Return a camera at `position` with `target` in the middle of its image and the world's +y upwards.

    Args:
        position: metres.
        target: metres; not straight above or below `position`.
        focal: pixels.
        height: pixels.
        width: pixels.
        roll: clockwise turn of the camera about its axis, radians.
    """
    eye = np.asarray(position, np.float64)
    forward = np.asarray(target, np.float64) - eye
    forward /= np.sqrt(forward @ forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    length = np.sqrt(right @ right)
    if length < 1e-9:
        raise ValueError("the target is straight above or below the camera; move it a little")
    right /= length
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
    return Camera(
        position=eye,
        rotation=rotation,
        focal=(focal, focal),
        principal=(width / 2, height / 2),
        height=height,
        width=width,
    )
