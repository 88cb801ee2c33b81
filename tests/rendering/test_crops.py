"""Crops: boxes with a detector's slack, windows that show the same scene, shadows on the floor, people in front."""

import numpy as np
import pytest

from resight.rendering.crops import Box, compose, crop_box, whole_camera
from resight.rendering.scenes import FRAME, backdrop, scene

FAR_AWAY = np.array([[90.0, 0.0, 90.0], [90.0, 0.0, 90.1]])


def _person(height: int, width: int, alpha: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rgb, coverage = np.full((height, width, 3), 0.7 * alpha), np.full((height, width), alpha)
    return rgb.astype(np.float32), coverage.astype(np.float32)


def test_a_box_gives_the_body_its_share_of_the_height() -> None:
    points = np.array([[100.0, 50.0], [130.0, 210.0]])
    box = crop_box(points, 128, 64, fill=0.8, shift=np.zeros(2))
    assert box.scale * 128 == pytest.approx(160 / 0.8)
    assert box.left + 32 * box.scale == pytest.approx(115)
    assert box.top + 64 * box.scale == pytest.approx(130)


def test_a_wide_body_still_fits() -> None:
    box = crop_box(np.array([[0.0, 0.0], [100.0, 110.0]]), 128, 64, fill=0.9, shift=np.zeros(2))
    assert box.scale * 64 == pytest.approx(100 / 0.9)


def test_a_window_at_full_scale_is_the_picture_itself() -> None:
    picture = backdrop(0, 0)
    out = compose(picture, Box(left=200.0, top=40.0, scale=1.0), scene(0, 0), FAR_AWAY, *_person(32, 16))
    np.testing.assert_allclose(out, picture[40:72, 200:216], atol=1e-5)


def test_the_person_hides_the_background_by_coverage() -> None:
    box, place = Box(left=200.0, top=40.0, scale=1.0), scene(0, 0)
    empty = compose(backdrop(0, 0), box, place, FAR_AWAY, *_person(8, 8))
    half = compose(backdrop(0, 0), box, place, FAR_AWAY, *_person(8, 8, 0.5))
    np.testing.assert_allclose(half, 0.35 + 0.5 * empty, atol=1e-6)
    np.testing.assert_allclose(compose(backdrop(0, 0), box, place, FAR_AWAY, *_person(8, 8, 1.0)), 0.7, atol=1e-6)


def test_a_shadow_lies_where_the_feet_stand() -> None:
    place = scene(0, 1)
    foot = np.array([0.0, 0.0, 0.5 * (place.near + place.far)])
    feet = np.stack([foot, foot])
    x, y, _ = whole_camera(place).project(foot)
    box = Box(left=x - 16, top=y - 16, scale=1.0)
    lit = compose(backdrop(0, 1), box, place, FAR_AWAY, *_person(32, 32))
    dark = compose(backdrop(0, 1), box, place, feet, *_person(32, 32))
    assert (dark <= lit + 1e-6).all()
    assert dark[16, 16].mean() < 0.6 * lit[16, 16].mean()


def test_the_whole_camera_is_level_and_looks_down() -> None:
    place = scene(0, 2)
    camera = whole_camera(place)
    x, _, depth = camera.project(np.array([0.0, 0.95, 8.0]))
    assert x == pytest.approx(FRAME[1] / 2)
    assert depth > 0
