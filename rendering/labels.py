"""Key points with visibility: where COCO's 17 points of the body lie in the image, and whether they can be seen.

A key point lies inside the body, so the depth map in front of it is nearer by about the limb's radius. It counts as
seen when the part in front of it is one it may lie in (`parts.KEYPOINT_SOURCES`) and no farther off than that part is
thick.
Source: Lin et al. 2014 (COCO's order and visibility flags). Trade-off: a hip behind the other thigh of a narrow body
may pass; the depth reach of each point is tuned for adults.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8
from numba import njit

from resight.datasets.records import KEYPOINTS
from resight.rendering.body import Body
from resight.rendering.camera import Camera, project_points
from resight.rendering.parts import JOINT_ID, KEYPOINT_SOURCES, NUM_PARTS

__all__ = ["HIDDEN", "OUTSIDE", "SEEN", "keypoints"]

OUTSIDE, HIDDEN, SEEN = 0, 1, 2

_SLACK: Final = 0.02
"""Metres by which the surface may lie behind a point on it, for the coarse pixels of its rim."""


_SOURCES: Final = tuple(KEYPOINT_SOURCES[name] for name in KEYPOINTS)
_VERTICES: Final = tuple(source.vertex for source in _SOURCES if source.vertex)  # the face, which COCO puts first
_JOINTS: Final = np.array([JOINT_ID[source.joint] for source in _SOURCES if source.joint])
_REACH: Final = np.array([source.reach for source in _SOURCES])
_ALLOWED: Final = np.array([[part in source.parts for part in range(NUM_PARTS + 1)] for source in _SOURCES])


def keypoints(
    camera: Camera,
    joints: Float[np.ndarray, "24 3"],
    vertices: Float[np.ndarray, "v 3"],
    body: Body,
    *,
    depth: Float32[np.ndarray, "h w"],
    part: UInt8[np.ndarray, "h w"],
) -> Float32[np.ndarray, "17 3"]:
    """Return x, y in pixels and visibility of each point.

    Args:
        camera: whose image it is.
        joints: posed, metres in the world.
        vertices: posed, metres in the world.
        body: for its named vertices.
        depth: metres, of the frame; where an occluder is nearer, the occluder's depth.
        part: of the frame; 0 where an occluder hides the body.

    Returns:
        Visibility 2 seen, 1 hidden, 0 outside the image or behind the camera; x and y are then 0 too.

    Raises:
        ValueError: the body has no named vertices, so nobody knows its nose.
    """
    points = np.zeros((len(KEYPOINTS), 3), np.float32)
    position, rotation = np.asarray(camera.position, np.float64), np.ascontiguousarray(camera.rotation, np.float64)
    lens = (*camera.focal, *camera.principal)
    _find(vertices, _named(body), joints, _JOINTS, position, rotation, lens, _ALLOWED, _REACH, depth, part, points)
    return points


@lru_cache(maxsize=8)
def _named(body: Body) -> Int64[np.ndarray, "5"]:
    if not body.vertex_ids:
        raise ValueError("the body has no vertex_ids; key points of the face need them")
    return np.array([body.vertex_ids[name] for name in _VERTICES])


@njit(cache=True, nogil=True, error_model="numpy")
def _find(
    vertices: np.ndarray,
    named: np.ndarray,
    joints: np.ndarray,
    inner: np.ndarray,
    position: np.ndarray,
    rotation: np.ndarray,
    lens: tuple[float, float, float, float],
    allowed: np.ndarray,
    reach: np.ndarray,
    depth: np.ndarray,
    part: np.ndarray,
    points: np.ndarray,
) -> None:
    """Project the points, and look at the 3 x 3 pixels about each.

    Of those that show the body or something nearer, half must show it.
    """
    count = named.size + inner.size
    places, seen = np.empty((count, 3)), np.empty((count, 3))
    for point in range(named.size):
        for axis in range(3):
            places[point, axis] = vertices[named[point], axis]
    for point in range(inner.size):
        for axis in range(3):
            places[named.size + point, axis] = joints[inner[point], axis]
    project_points(places, position, rotation, *lens, seen)
    height, width = depth.shape
    for point in range(count):
        across, down, away = seen[point, 0], seen[point, 1], seen[point, 2]
        if not (away > 0.0 and 0.0 <= across < width and 0.0 <= down < height):
            continue
        column, row = int(across), int(down)
        visible, covered = 0, 0
        for y in range(max(row - 1, 0), min(row + 2, height)):
            for x in range(max(column - 1, 0), min(column + 2, width)):
                thickness = away - depth[y, x]
                covered += 1 if part[y, x] > 0 or thickness > 0.0 else 0
                close = -_SLACK <= thickness <= reach[point]
                visible += 1 if close and allowed[point, part[y, x]] else 0
        points[point, 0], points[point, 1] = across, down
        points[point, 2] = SEEN if visible > 0 and 2 * visible >= covered else HIDDEN
