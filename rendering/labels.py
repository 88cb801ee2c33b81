"""Key points with visibility: where COCO's 17 points of the body lie in the image, and whether they can be seen.

A key point lies inside the body, so the depth map in front of it is nearer by about the limb's radius. It counts as seen
when the part in front of it is one it may lie in (`parts.KEYPOINT_SOURCES`) and no farther off than that part is thick.
Source: Lin et al. 2014 (COCO's order and visibility flags). Trade-off: a hip behind the other thigh of a narrow body may
pass; the depth reach of each point is tuned for adults.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Float32, UInt8

from resight.datasets.records import KEYPOINTS
from resight.rendering.body import Body
from resight.rendering.camera import Camera
from resight.rendering.parts import JOINT_ID, KEYPOINT_SOURCES

__all__ = ["HIDDEN", "OUTSIDE", "SEEN", "keypoint_places", "keypoints"]

OUTSIDE, HIDDEN, SEEN = 0, 1, 2

_SLACK: Final = 0.02
"""Metres by which the surface may lie behind a point on it, for the coarse pixels of its rim."""


def keypoint_places(
    joints: Float[np.ndarray, "24 3"], vertices: Float[np.ndarray, "v 3"], body: Body
) -> Float[np.ndarray, "17 3"]:
    """Return where the 17 points are in the world, metres float64.

    Raises:
        ValueError: the body has no named vertices, so nobody knows its nose.
    """
    if not body.vertex_ids:
        raise ValueError("the body has no vertex_ids; key points of the face need them")
    sources = [KEYPOINT_SOURCES[name] for name in KEYPOINTS]
    places = [
        joints[JOINT_ID[source.joint]] if source.joint else vertices[body.vertex_ids[source.vertex]] for source in sources
    ]
    return np.stack(places).astype(np.float64)


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
    out = np.zeros((len(KEYPOINTS), 3), np.float32)
    for number, (name, (x, y, away)) in enumerate(zip(KEYPOINTS, seen.tolist(), strict=True)):
        if away <= 0 or not (0 <= x < camera.width and 0 <= y < camera.height):
            continue
        source = KEYPOINT_SOURCES[name]
        column, row = int(x), int(y)
        near = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        thickness = away - depth[near]
        visible = np.isin(part[near], source.parts) & (thickness <= source.reach) & (thickness >= -_SLACK)
        out[number] = x, y, SEEN if _enough(visible, part[near], depth[near], away) else HIDDEN
    return out


def _enough(visible: np.ndarray, part: np.ndarray, depth: np.ndarray, away: float) -> bool:
    """Decide from the 3 x 3 pixels about a point: most of those that show anything at all, ours or nearer, show it."""
    covered = (part > 0) | (depth < away)
    return bool(visible.any() and 2 * int(visible.sum()) >= int(covered.sum()))
