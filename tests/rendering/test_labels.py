"""Key points: where a float64 projection puts them, and visible exactly when nothing is in front."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.datasets.records import KEYPOINTS
from resight.rendering.appearance import bare, dress
from resight.rendering.body import Body
from resight.rendering.camera import Camera, look_at
from resight.rendering.capsule import capsule_body
from resight.rendering.labels import HIDDEN, OUTSIDE, SEEN, keypoints
from resight.rendering.parts import JOINT_ID, KEYPOINT_SOURCES, PART_ID
from resight.rendering.poses import standing, walking
from resight.rendering.shading import Frame, Lights, render
from resight.rendering.skinning import rest_vertices, skin_one

ZERO = np.zeros(10)


@pytest.fixture(scope="module")
def body() -> Body:
    return capsule_body()


def _view(angle: float, height: int = 256, width: int = 128) -> Camera:
    eye = (5 * float(np.sin(angle)), 1.1, 5 * float(np.cos(angle)))
    return look_at(eye, (0.0, 0.9, 0.0), focal=2.4 * height, height=height, width=width)


def _shoot(body: Body, camera: Camera, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, Frame, dict[str, np.ndarray]]:
    vertices, joints = skin_one(body, ZERO, pose, np.array([0.0, 0.93, 0.0]))
    frame = render(vertices, rest_vertices(body, ZERO), body, dress(bare(hair_length=0.33)), camera, Lights())
    found = keypoints(camera, joints, vertices, body, depth=frame.depth, part=frame.part)
    return vertices, joints, frame, dict(zip(KEYPOINTS, found, strict=True))


def test_the_sources_are_coco_s_points_in_coco_s_order() -> None:
    assert tuple(KEYPOINT_SOURCES) == KEYPOINTS


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(0, 2 * np.pi), phase=st.floats(0, 1))
def test_points_lie_within_half_a_pixel_of_a_float64_projection(angle: float, phase: float) -> None:
    body, camera = capsule_body(), _view(angle)
    vertices, joints, _, found = _shoot(body, camera, walking(phase))
    for name, (x, y, visibility) in found.items():
        source = KEYPOINT_SOURCES[name]
        place = joints[JOINT_ID[source.joint]] if source.joint else vertices[body.vertex_ids[source.vertex]]
        seen = camera.rotation @ (place.astype(np.float64) - camera.position)
        expected = seen[:2] / seen[2] * camera.focal + camera.principal
        assert visibility in (SEEN, HIDDEN)
        assert np.hypot(*(expected - (x, y))) < 0.5


def test_from_the_front_and_from_the_back(body: Body) -> None:
    front = _shoot(body, _view(0.0), standing())[3]
    assert all(point[2] == SEEN for point in front.values()), front
    assert front["left_shoulder"][0] > front["right_shoulder"][0]
    back = _shoot(body, _view(np.pi), standing())[3]
    for name in ("nose", "left_eye", "right_eye"):
        assert back[name][2] == HIDDEN
    for name in ("left_shoulder", "right_elbow", "left_knee", "right_ankle"):
        assert back[name][2] == SEEN


def test_from_the_side_the_far_limbs_are_hidden(body: Body) -> None:
    for angle, far in ((np.pi / 2, "right"), (-np.pi / 2, "left")):
        near = "left" if far == "right" else "right"
        found = _shoot(body, _view(angle), standing())[3]
        for name in ("shoulder", "elbow", "hip", "knee", "ankle", "ear"):
            assert found[f"{far}_{name}"][2] == HIDDEN, (far, name)
        for name in ("shoulder", "elbow", "knee", "ankle", "eye"):
            assert found[f"{near}_{name}"][2] == SEEN, (near, name)


def test_visible_points_lie_on_the_mask(body: Body) -> None:
    for angle in np.linspace(0, 2 * np.pi, 7):
        _, _, frame, found = _shoot(body, _view(float(angle)), walking(0.1))
        for x, y, visibility in found.values():
            if visibility == SEEN:
                near = frame.mask[max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2]
                assert near.any()


def test_an_occluder_hides_what_is_behind_it(body: Body) -> None:
    camera = _view(0.0)
    vertices, joints, frame, before = _shoot(body, camera, standing())
    depth, part = frame.depth.copy(), frame.part.copy()
    depth[128:], part[128:] = 2.0, 0
    after = dict(zip(KEYPOINTS, keypoints(camera, joints, vertices, body, depth=depth, part=part), strict=True))
    for name, point in after.items():
        assert point[2] == (HIDDEN if before[name][1] > 129 else SEEN), name
        np.testing.assert_array_equal(point[:2], before[name][:2])


def test_points_outside_the_picture_are_zero(body: Body) -> None:
    camera = _view(0.0).crop(0.0, 0.0, 128.0, 100.0, height=100, width=128)
    found = _shoot(body, camera, standing())[3]
    assert found["nose"][2] == SEEN
    for name in ("left_knee", "right_ankle"):
        np.testing.assert_array_equal(found[name], (0, 0, OUTSIDE))


def test_a_hand_before_the_belly_hides_no_hip_of_its_own_side_only_by_depth(body: Body) -> None:
    """The part in front decides as well: a forearm close before the hip is not the hip."""
    camera = _view(0.0)
    vertices, joints, frame, found = _shoot(body, camera, standing())
    column, row = int(found["left_hip"][0]), int(found["left_hip"][1])
    part = frame.part.copy()
    part[row - 2 : row + 3, column - 2 : column + 3] = PART_ID["left_hand"]
    again = keypoints(camera, joints, vertices, body, depth=frame.depth, part=part)
    assert again[KEYPOINTS.index("left_hip"), 2] == HIDDEN


def test_a_body_without_named_vertices_is_refused(body: Body) -> None:
    with pytest.raises(ValueError, match="vertex_ids"):
        keypoints(
            _view(0.0),
            np.zeros((24, 3), np.float32),
            body.v_template,
            replace(body, vertex_ids={}),
            depth=np.ones((4, 2), np.float32),
            part=np.zeros((4, 2), np.uint8),
        )
