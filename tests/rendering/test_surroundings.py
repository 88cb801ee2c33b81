"""What is in a picture beside the person: labels stay exact, depth decides who hides whom, and all is pure."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from resight.datasets.records import KEYPOINTS
from resight.rendering.capsule import capsule_body
from resight.rendering.layers import behind, hidden_share, merge
from resight.rendering.occluders import hiding, overlap_shift
from resight.rendering.parts import JOINT_ID, KEYPOINT_SOURCES, PART_ID
from resight.rendering.picture import Picture, picture
from resight.rendering.shading import Frame
from resight.rendering.splits import SPLITS, Group
from resight.rendering.styles import style
from resight.rendering.world import WORLDS, ImageSpec, identities, images

BODY = capsule_body()


def _specs(split: str, group: Group, people: int, each: int = 4) -> list[ImageSpec]:
    pids = identities(WORLDS["tiny"], split, group)[:people]
    return [spec for pid in pids for spec in list(images(WORLDS["tiny"], split, group, pid))[:each]]


@pytest.fixture(scope="module")
def occluded() -> list[tuple[ImageSpec, Picture]]:
    return [(spec, picture(BODY, 0, spec)) for spec in _specs("occluded", "query", 12)]


@pytest.fixture(scope="module")
def busy() -> list[Picture]:
    return [picture(BODY, 0, spec) for spec in _specs("pose", "query", 8)]


def test_every_query_is_hidden_by_as_much_as_it_shall(occluded: list[tuple[ImageSpec, Picture]]) -> None:
    aims, shares = [], []
    for spec, taken in occluded:
        what = hiding(0, spec)
        assert what is not None
        aims.append(what.target)
        shares.append(hidden_share(taken.amodal, taken.mask))
    assert min(shares) > 0.02
    assert max(shares) <= 0.6
    assert np.median(np.abs(np.array(shares) - aims)) < 0.05
    assert {hiding(0, spec).kind for spec, _ in occluded} >= {"pillar", "wall", "person"}  # type: ignore[union-attr]


def test_galleries_are_mostly_in_the_open() -> None:
    specs = _specs("occluded", "gallery", 48, each=20)
    assert 0.05 < np.mean([hiding(0, spec) is not None for spec in specs]) < 0.16
    assert all(hiding(0, spec) is None for spec in _specs("base", "query", 4))


def test_masks_are_unions_of_parts_and_never_more_than_the_whole_person(
    occluded: list[tuple[ImageSpec, Picture]], busy: list[Picture]
) -> None:
    for taken in [*(one for _, one in occluded), *busy]:
        np.testing.assert_array_equal(taken.mask > 0, taken.parts > 0)
        assert not ((taken.mask > 0) & (taken.amodal == 0)).any()


def test_the_person_is_the_same_without_the_occluder(occluded: list[tuple[ImageSpec, Picture]]) -> None:
    for spec, taken in occluded[:10]:
        alone = picture(BODY, 0, replace(spec, staging=replace(spec.staging, occluded=0.0)))
        np.testing.assert_array_equal(alone.mask, taken.amodal)
        np.testing.assert_array_equal(alone.pose, taken.pose)
        seen = taken.mask > 0
        np.testing.assert_array_equal(alone.parts[seen], taken.parts[seen])
        hidden = (alone.mask > 0) & (taken.mask == 0)
        assert (taken.depth[hidden] <= alone.depth[hidden]).all()
        assert (taken.depth <= alone.depth).all()


def test_points_lie_where_a_float64_projection_puts_them_and_hidden_ones_are_called_hidden(
    occluded: list[tuple[ImageSpec, Picture]], busy: list[Picture]
) -> None:
    pairs = [*(one for _, one in occluded), *busy]
    covered = 0
    for taken in pairs:
        camera = taken.camera
        for name, (x, y, visibility) in zip(KEYPOINTS, taken.keypoints, strict=True):
            joint = KEYPOINT_SOURCES[name].joint
            if not joint or visibility == 0:
                continue
            seen = np.asarray(camera.rotation) @ (taken.joints[JOINT_ID[joint]].astype(np.float64) - camera.position)
            expected = seen[:2] / seen[2] * camera.focal + camera.principal
            assert np.hypot(*(expected - (x, y))) < 0.5
            inside = slice(max(int(y) - 1, 0), int(y) + 2), slice(max(int(x) - 1, 0), int(x) + 2)
            if not (taken.mask[inside] > 0).any():
                covered += 1
                assert visibility == 1
    assert covered > 50


def test_people_sit_reach_and_carry(busy: list[Picture]) -> None:
    assert {one.activity for one in busy} == {"sitting", "reaching", "carrying"}
    for one in busy:
        knees = one.joints[[JOINT_ID["left_knee"], JOINT_ID["right_knee"]], 1]
        pelvis, head = one.joints[JOINT_ID["pelvis"], 1], one.joints[JOINT_ID["head"], 1]
        wrists = one.joints[[JOINT_ID["left_wrist"], JOINT_ID["right_wrist"]], 1]
        if one.activity == "sitting":
            assert abs(pelvis - knees.mean()) < 0.2
        else:
            assert pelvis - knees.mean() > 0.25
        if one.activity == "reaching":
            assert wrists.max() > pelvis + 0.3
        if one.activity == "carrying":
            assert (pelvis - 0.1 < wrists).all()
            assert (wrists < head).all()


def _some() -> Iterator[ImageSpec]:
    for split in SPLITS:
        for group in SPLITS[split].groups:
            yield from _specs(split, group, 1, each=1)


def test_any_order_gives_the_same_images() -> None:
    specs = list(_some())
    forward = [picture(BODY, 3, spec).image.tobytes() for spec in specs]
    backward = [picture(BODY, 3, spec).image.tobytes() for spec in reversed(specs)]
    assert forward == backward[::-1]


def test_clay_has_no_colour_and_no_hair() -> None:
    for spec in _specs("shape", "train", 3, each=2):
        taken = picture(BODY, 0, spec)
        assert not (taken.parts == PART_ID["hair"]).any()
        dressed = picture(BODY, 0, replace(spec, staging=replace(spec.staging, bare=False)))
        person = taken.image[taken.mask > 0].astype(float)
        coloured = dressed.image[dressed.mask > 0].astype(float)
        assert person.std(0).mean() < coloured.std(0).mean()
        assert np.ptp(person.mean(0)) < 40


def test_coarse_cameras_lose_detail_and_foreign_ones_shift_colours() -> None:
    spec = _specs("lowres", "gallery", 1, each=1)[0]
    for number in range(4):
        assert style(0, 64 + number).lines < 37 < 77 <= style(0, number).lines

    def grain(cameras: range) -> float:
        """How much of 64 rows, in which there is little noise, goes when they are shrunk to 32 and enlarged again."""
        lost: list[float] = []
        for camera in cameras:
            taken = picture(BODY, 0, replace(spec, camera=camera)).image.astype(float).mean(2)
            image = cv2.resize(taken, (32, 64), interpolation=cv2.INTER_AREA)
            coarse = cv2.resize(cv2.resize(image, (16, 32), interpolation=cv2.INTER_AREA), (32, 64))
            lost.append(float(np.abs(image - coarse).mean()))
        return float(np.mean(lost))

    assert grain(range(64, 68)) < grain(range(4))
    warmth = [np.log(picture(BODY, 0, replace(spec, camera=n)).image.reshape(-1, 3).mean(0)) for n in (32, 33)]
    assert (warmth[0][0] - warmth[0][2]) - (warmth[1][0] - warmth[1][2]) > 0.2


def _flat(height: int, width: int, columns: slice, depth: float, part: int) -> Frame:
    alpha, distance = np.zeros((height, width), np.float32), np.full((height, width), np.inf, np.float32)
    alpha[:, columns], distance[:, columns] = 1.0, depth
    return Frame(
        rgb=np.repeat(alpha[..., None], 3, 2) * np.float32(0.1 * part),
        alpha=alpha,
        mask=np.where(alpha > 0, 255, 0).astype(np.uint8),
        part=np.where(alpha > 0, part, 0).astype(np.uint8),
        depth=distance,
        normal=np.zeros((height, width, 3), np.float32),
    )


def test_the_nearer_of_two_frames_is_seen() -> None:
    near, far = _flat(4, 8, slice(2, 6), 3.0, 5), _flat(4, 8, slice(0, 5), 4.0, 9)
    for both in (merge(near, far), merge(far, near)):
        np.testing.assert_array_equal(both.part[0], [9, 9, 5, 5, 5, 5, 0, 0])
        np.testing.assert_array_equal(both.depth[0, :6], [4, 4, 3, 3, 3, 3])
    left = behind(far, near)
    np.testing.assert_array_equal(left.part[0], [9, 9, 0, 0, 0, 0, 0, 0])
    assert hidden_share(far.mask, left.mask) == pytest.approx(0.6)
    unhidden = behind(near, far)
    np.testing.assert_array_equal(unhidden.mask, near.mask)


def test_a_passer_by_moves_as_far_as_hides_the_right_share() -> None:
    mask = np.zeros((4, 40), np.uint8)
    mask[:, 10:30] = 255
    assert overlap_shift(mask, mask, 0.5, 1) == 10
    assert overlap_shift(mask, mask, 0.25, -1) == -15
