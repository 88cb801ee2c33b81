"""Key points with visibility: where COCO's 17 points of the body lie in the image, and whether they can be seen.

A key point lies inside the body, so the depth map in front of it is nearer by about the limb's radius. It counts as
seen when the part in front of it is one it may lie in (`parts.KEYPOINT_SOURCES`) and no farther off than that part is
thick.
Source: Lin et al. 2014 (COCO's order and visibility flags). Trade-off: a hip behind the other thigh of a narrow body
may pass; the depth reach of each point is tuned for adults.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numba import njit

from resight.datasets.records import KEYPOINTS
from resight.rendering.body import Body
from resight.rendering.camera import Camera
from resight.rendering.parts import JOINT_ID, KEYPOINT_SOURCES, NUM_PARTS

__all__ = ["HIDDEN", "OUTSIDE", "SEEN", "keypoint_places", "keypoints"]

OUTSIDE, HIDDEN, SEEN = 0, 1, 2

_SLACK: Final = 0.02
"""Metres by which the surface may lie behind a point on it, for the coarse pixels of its rim."""


_SOURCES: Final = tuple(KEYPOINT_SOURCES[name] for name in KEYPOINTS)
_VERTICES: Final = tuple(source.vertex for source in _SOURCES if source.vertex)  # the face, which COCO puts first
_JOINTS: Final = [JOINT_ID[source.joint] for source in _SOURCES if source.joint]
_REACH: Final = np.array([source.reach for source in _SOURCES])
_ALLOWED: Final = np.array([[part in source.parts for part in range(NUM_PARTS + 1)] for source in _SOURCES])


def keypoint_places(
    joints: Float[np.ndarray, "24 3"], vertices: Float[np.ndarray, "v 3"], body: Body
) -> Float[np.ndarray, "17 3"]:
    """Return where the 17 points are in the world, metres float64.

    Raises:
        ValueError: the body has no named vertices, so nobody knows its nose.
    """
    if not body.vertex_ids:
        raise ValueError("the body has no vertex_ids; key points of the face need them")
    named = vertices[[body.vertex_ids[name] for name in _VERTICES]]
    return np.concatenate([named, joints[_JOINTS]]).astype(np.float64)


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
    """
    seen = camera.project(keypoint_places(joints, vertices, body))
    inside = (seen[:, 2] > 0) & np.all((seen[:, :2] >= 0) & (seen[:, :2] < (camera.width, camera.height)), axis=1)
    visibility = np.zeros(len(KEYPOINTS), np.float32)
    _judge(seen, inside, _ALLOWED, _REACH, depth, part, visibility)
    return np.concatenate([np.where(inside[:, None], seen[:, :2], 0), visibility[:, None]], axis=1).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _judge(
    seen: np.ndarray,
    inside: np.ndarray,
    allowed: np.ndarray,
    reach: np.ndarray,
    depth: np.ndarray,
    part: np.ndarray,
    visibility: np.ndarray,
) -> None:
    """Look at the 3 x 3 pixels about a point: of those that show the body or something nearer, half must show it."""
    height, width = depth.shape
    for point in range(seen.shape[0]):
        if not inside[point]:
            continue
        column, row, away = int(seen[point, 0]), int(seen[point, 1]), seen[point, 2]
        visible, covered = 0, 0
        for y in range(max(row - 1, 0), min(row + 2, height)):
            for x in range(max(column - 1, 0), min(column + 2, width)):
                thickness = away - depth[y, x]
                covered += 1 if part[y, x] > 0 or thickness > 0.0 else 0
                close = -_SLACK <= thickness <= reach[point]
                visible += 1 if close and allowed[point, part[y, x]] else 0
        visibility[point] = SEEN if visible > 0 and 2 * visible >= covered else HIDDEN
