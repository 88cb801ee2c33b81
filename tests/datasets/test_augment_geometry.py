"""Labels move with the image: a dot painted on the picture ends where its key point, mask and map end."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.datasets.augment import AugmentConfig
from resight.datasets.augment.draws import Draws, draw
from resight.datasets.augment.fused import apply
from resight.datasets.augment.geometry import MIRRORED, move_keypoints, move_maps, move_masks
from resight.datasets.records import KEYPOINTS

CONFIG = AugmentConfig(height=64, width=32, pad=10, erase=0)


def placed(*, flip: bool = False, top: int = 10, left: int = 10) -> Draws:
    one = draw(CONFIG, seed=0, epoch=0, step=0, slots=[0])
    return Draws(
        flip=np.array([flip]),
        top=np.array([top], np.int32),
        left=np.array([left], np.int32),
        box=one.box,
        jitter=one.jitter,
        colour=one.colour,
        noise=one.noise,
    )


@settings(max_examples=80, deadline=None)
@given(x=st.integers(0, 15), y=st.integers(0, 31), point=st.integers(0, 16), seed=st.integers(0, 2**32))
def test_everything_moves_as_the_pixels_do(x: int, y: int, point: int, seed: int) -> None:
    image, mask = np.zeros((32, 16, 3), np.uint8), np.zeros((32, 16), np.uint8)
    image[y, x], mask[y, x] = 255, 255
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, point] = (x + 0.5, y + 0.5, 2)
    maps = np.zeros((1, 17, 32, 16), np.float32)
    maps[0, point, y, x] = 1
    drawn = draw(CONFIG, seed=seed, epoch=0, step=0, slots=[0])
    out = np.empty((1, 3, 64, 32))
    apply([np.kron(image, np.ones((2, 2, 1), np.uint8))], drawn, CONFIG, out)
    bright = out[0, 0] > 0
    assert (move_masks([mask], drawn, CONFIG)[0] == 255 * bright).all()
    moved = move_keypoints(keypoints, [(32, 16)], drawn, CONFIG)[0]
    now = MIRRORED[point] if drawn.flip[0] else point
    assert set(np.flatnonzero(moved[:, 2])) <= {now}
    if moved[now, 2]:
        rows, columns = np.nonzero(bright)
        assert rows.min() <= moved[now, 1] <= rows.max() + 1
        assert columns.min() <= moved[now, 0] <= columns.max() + 1
    if bright.sum() == 4:
        rows, columns = np.nonzero(bright)
        np.testing.assert_allclose(moved[now], (columns.mean() + 0.5, rows.mean() + 0.5, 2), atol=1e-5)
    heat = move_maps(maps, drawn, CONFIG, mirrored=MIRRORED.tolist())[0]
    assert set(np.flatnonzero(heat.any(axis=(1, 2)))) <= {now}
    if heat[now].sum() > 0.99:
        centre = (heat[now] * np.stack(np.meshgrid(np.arange(16), np.arange(32)))).sum(axis=(1, 2)) * 2 + 1
        np.testing.assert_allclose(centre, moved[now, :2], atol=1e-4)


def test_left_and_right_change_places_in_a_mirror() -> None:
    assert MIRRORED.tolist() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, KEYPOINTS.index("left_wrist")] = (2, 8, 1)
    moved = move_keypoints(keypoints, [(64, 32)], placed(flip=True), CONFIG)[0]
    assert moved[KEYPOINTS.index("right_wrist")].tolist() == [30, 8, 1]
    assert moved[KEYPOINTS.index("left_wrist"), 2] == 0


def test_a_key_point_that_leaves_the_window_is_not_visible() -> None:
    keypoints = np.full((1, 17, 3), (4, 4, 2), np.float32)
    inside = move_keypoints(keypoints, [(64, 32)], placed(left=14, top=14), CONFIG)
    outside = move_keypoints(keypoints, [(64, 32)], placed(left=15, top=14), CONFIG)
    assert (inside[..., 2] == 2).all()
    assert (outside[..., 2] == 0).all()


def test_unmoved_maps_and_masks_are_themselves() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((1, 5, 16, 8), np.float32)
    np.testing.assert_array_equal(move_maps(maps, placed(), CONFIG), maps)
    parts = rng.integers(0, 20, (64, 32), dtype=np.uint8)
    assert (move_masks([parts], placed(), CONFIG)[0] == parts).all()
    assert (move_masks([parts], placed(flip=True), CONFIG)[0] == parts[:, ::-1]).all()


def test_a_window_that_misses_the_image_is_empty() -> None:
    wide = AugmentConfig(height=8, width=8, pad=20)
    masks = move_masks([np.full((8, 8), 7, np.uint8)], placed(left=40, top=20), wide)
    assert not masks.any()
