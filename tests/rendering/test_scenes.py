"""Scenes: geometry that fits the camera, walkways that are clear, pictures that are the same every time."""

import numpy as np
import pytest

from resight.rendering.scenes import FRAME, backdrop, scene


@pytest.mark.parametrize("camera", range(12))
def test_people_fit_into_the_picture(camera: int) -> None:
    place = scene(0, camera)
    assert np.allclose(place.axes @ place.axes.T, np.eye(3))
    assert np.linalg.det(place.axes) == pytest.approx(1.0)
    for depth in (place.near, place.far):
        for height in (0.0, 1.9):
            seen = place.axes @ (np.array([0.0, height, depth]) - place.position)
            row = place.focal * seen[1] / seen[2] + FRAME[0] / 2
            assert -20 < row < FRAME[0] + 20


def test_boxes_stand_clear_of_the_walkway() -> None:
    for camera in range(20):
        place = scene(1, camera)
        sine, cosine = np.sin(place.yaw), np.cos(place.yaw)
        for row in place.boxes:
            x, depth = cosine * row[0] + sine * row[1], -sine * row[0] + cosine * row[1]
            if depth < place.far:
                assert abs(x) - np.hypot(row[2], row[4]) > place.half_width


def test_the_picture_is_lit_and_repeats() -> None:
    first = backdrop(0, 0)
    backdrop.cache_clear()
    again = backdrop(0, 0)
    assert first.shape == (*FRAME, 3)
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert 0.02 < first.mean() < 0.8
    assert not np.array_equal(first, backdrop(0, 1))
