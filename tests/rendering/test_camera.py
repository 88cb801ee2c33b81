"""The pinhole camera: conventions, crops, and framing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.rendering.camera import Camera, look_at


@pytest.fixture
def camera() -> Camera:
    return look_at((0.0, 1.0, 5.0), (0.0, 1.0, 0.0), focal=300.0, height=200, width=100)


def test_conventions(camera: Camera) -> None:
    pixel = camera.project(np.array([[0.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.0, 1.5, 0.0], [0.0, 1.0, 9.0]]))
    np.testing.assert_allclose(pixel[0], [50.0, 100.0, 5.0])
    np.testing.assert_allclose(pixel[1], [80.0, 100.0, 5.0])  # world +x is to the right when we look along -z
    np.testing.assert_allclose(pixel[2], [50.0, 70.0, 5.0])  # and up is up: y shrinks
    assert pixel[3, 2] < 0
    assert pixel.dtype == np.float64


@settings(max_examples=25, deadline=None)
@given(
    eye=st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(-9, 9)),
    target=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    roll=st.floats(-3, 3),
)
def test_the_rotation_is_one_and_the_target_is_in_the_middle(
    eye: tuple[float, float, float], target: tuple[float, float, float], roll: float
) -> None:
    if np.hypot(eye[0] - target[0], eye[2] - target[2]) < 0.1:
        return
    camera = look_at(eye, target, focal=100.0, height=64, width=32, roll=roll)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(camera.rotation) == pytest.approx(1)
    np.testing.assert_allclose(camera.project(np.array(target))[:2], (16, 32), atol=1e-6)


def test_up_is_up_without_roll() -> None:
    camera = look_at((3.0, 4.0, -2.0), (0.0, 0.0, 0.0), focal=100.0, height=64, width=32)
    low, high = camera.project(np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.0]]))
    assert high[0] == pytest.approx(low[0])
    assert high[1] < low[1]


def test_roll_turns_the_camera_clockwise() -> None:
    """So the picture turns the other way: what was on top moves to the left."""
    camera = look_at((0.0, 0.0, 5.0), (0.0, 0.0, 0.0), focal=100.0, height=64, width=64, roll=0.3)
    assert camera.project(np.array([0.0, 1.0, 0.0]))[0] < 32


@settings(max_examples=25, deadline=None)
@given(left=st.floats(-50, 50), top=st.floats(-50, 50), wide=st.floats(1, 90), high=st.floats(1, 90))
def test_a_crop_moves_points_as_resizing_the_image_does(left: float, top: float, wide: float, high: float) -> None:
    camera = look_at((0.0, 1.0, 5.0), (0.0, 1.0, 0.0), focal=300.0, height=200, width=100)
    points = np.random.default_rng(0).uniform(-1, 1, (9, 3))
    whole = camera.project(points)
    part = camera.crop(left, top, left + wide, top + high, height=128, width=64).project(points)
    np.testing.assert_allclose(part[:, 0], (whole[:, 0] - left) * 64 / wide, atol=1e-6)
    np.testing.assert_allclose(part[:, 1], (whole[:, 1] - top) * 128 / high, atol=1e-6)
    np.testing.assert_allclose(part[:, 2], whole[:, 2])


def test_a_box_without_area_is_refused(camera: Camera) -> None:
    with pytest.raises(ValueError, match="no area"):
        camera.crop(5.0, 5.0, 5.0, 9.0, height=2, width=2)


def test_framing_shows_all_points_undistorted_with_a_margin(camera: Camera) -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (40, 3))
    crop = camera.framing(points, height=128, width=64, margin=0.1)
    pixel = crop.project(points)[:, :2]
    assert crop.focal[0] == pytest.approx(crop.focal[1])
    assert pixel.min() > 0
    assert (pixel < (64, 128)).all()
    shares = np.ptp(pixel, axis=0) / (64, 128)
    assert shares.max() == pytest.approx(1 / 1.2)
    np.testing.assert_allclose(pixel.min(axis=0) + pixel.max(axis=0), (64, 128), atol=1e-6)


def test_straight_down_has_no_up() -> None:
    with pytest.raises(ValueError, match="straight above"):
        look_at((0.0, 5.0, 0.0), (0.0, 0.0, 0.0), focal=100.0, height=8, width=8)
