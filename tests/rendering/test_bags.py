"""Bags touch the people that carry them, on the side they should, in any pose; and outfits have their extras."""

import numpy as np
import pytest

from resight.rendering.bags import bag_solids, belt, joint_turns
from resight.rendering.capsule import capsule_body
from resight.rendering.dressing import dressed
from resight.rendering.garments import normals
from resight.rendering.outfits import Bag, BagKind, outfit, stranger
from resight.rendering.parts import JOINT_ID, PART_ID
from resight.rendering.people import double, person
from resight.rendering.poses import walking
from resight.rendering.skinning import skin_one
from resight.rendering.strips import Strip, cross_belt, neckline, shoulder_straps

BODY = capsule_body()
CLOTH = outfit(0, 100_000, 0, 1).shoes


def _bag(kind: BagKind, side: int = 1) -> Bag:
    return Bag(kind=kind, cloth=CLOTH, side=side, size=(0.3, 0.35, 0.14))


@pytest.mark.parametrize("heading", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("kind", ["backpack", "satchel", "handbag"])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_bag_touches_its_owner_and_hangs_where_it_should(kind: BagKind, side: int, heading: float) -> None:
    for pid in (100_000, 100_001, 100_005):
        pose = walking(0.1, heading=heading)
        vertices, joints = skin_one(BODY, person(0, pid).betas, pose, np.zeros(3))
        solids = bag_solids(BODY, _bag(kind, side), vertices=vertices, joints=joints, pose=pose, fit=0.01)
        bag = np.concatenate([solid.vertices for solid in solids]).astype(np.float64)
        gap = np.sqrt(((bag[:, None] - vertices[None, ::3]) ** 2).sum(-1)).min()
        assert gap < 0.05
        turn = joint_turns(pose)[JOINT_ID["spine2" if kind == "backpack" else "pelvis"]]
        local = (bag.mean(0) - joints[JOINT_ID["pelvis"]]) @ turn
        if kind == "backpack":
            assert local[2] < -0.1
            assert abs(local[0]) < 0.1
        else:
            assert local[0] * side > 0.1


def test_joint_turns_are_those_of_the_skinning() -> None:
    pose = walking(0.3, heading=0.7)
    turns = joint_turns(pose)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (24, 1, 1)), atol=1e-9)
    _, joints = skin_one(BODY, np.zeros(10), pose, np.zeros(3))
    rest = BODY.J_regressor.astype(np.float64) @ BODY.v_template.astype(np.float64)
    bone = rest[JOINT_ID["left_wrist"]] - rest[JOINT_ID["left_elbow"]]
    moved = joints[JOINT_ID["left_wrist"]] - joints[JOINT_ID["left_elbow"]]
    np.testing.assert_allclose(turns[JOINT_ID["left_elbow"]] @ bone, moved, atol=1e-5)


def _area(strip: Strip) -> float:
    corners = strip.mesh.v_template.astype(np.float64)[strip.mesh.f]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.sqrt((across**2).sum(1)).sum() / 2)


def test_straps_lie_on_the_trunk_only_and_are_as_wide_everywhere() -> None:
    for kind in ("backpack", "satchel"):
        found = belt(BODY, _bag(kind), 0.01)
        assert found is not None
        strip, _ = found
        assert set(strip.mesh.face_part.tolist()) <= {PART_ID["torso"], PART_ID["hips"]}
        assert 0.03 < _area(strip) < 0.2
    assert belt(BODY, _bag("handbag"), 0.01) is None
    off = np.abs(shoulder_straps(BODY).mesh.v_template[:, 0])
    assert np.ptp(off) == pytest.approx(0.048, abs=1e-3)


def test_a_strip_moves_with_the_body() -> None:
    strip, pose = cross_belt(BODY, 1), walking(0.2, heading=1.0)
    np.testing.assert_allclose(strip.of(BODY.v_template), strip.mesh.v_template, atol=1e-6)
    np.testing.assert_allclose(strip.shares.sum(1), 1, atol=1e-12)
    vertices, _ = skin_one(BODY, np.zeros(10), pose, np.zeros(3))
    faces = vertices[strip.corners]
    assert (strip.of(vertices) <= faces.max(1) + 1e-5).all()
    assert (strip.of(vertices) >= faces.min(1) - 1e-5).all()


def test_a_deeper_neckline_shows_more_of_the_chest_and_nothing_of_the_back() -> None:
    shallow, deep = neckline(BODY, 0.05), neckline(BODY, 0.14)
    assert 0 < _area(shallow) < _area(deep) < 0.06
    facing = normals(deep.mesh.v_template.astype(np.float64), deep.mesh.f)[deep.mesh.f].mean(1)[:, 2]
    assert (facing > 0).mean() > 0.8


def test_extras_change_nothing_else_about_an_outfit() -> None:
    people, bags, layers, collars = range(300_000, 300_120), 0, 0, 0
    for pid in people:
        plain, more = outfit(0, pid, 0, 1), outfit(0, pid, 0, 1, extras=True)
        assert plain.bag is None
        assert (plain.hem, plain.collar, plain.under) == (0.8, 0.0, None)
        np.testing.assert_array_equal(plain.lower.colour, more.lower.colour)
        np.testing.assert_array_equal(plain.upper.colour, more.upper.colour)
        bags, layers = bags + (more.bag is not None), layers + (more.under is not None)
        collars += more.collar != 0
        assert np.isfinite(dressed(person(0, pid), more).inflation).all()
    assert 30 < bags < 80
    assert 8 < layers < 60
    assert collars > 20


def test_a_double_has_nearly_the_same_body_and_an_imitator_nearly_the_same_clothes() -> None:
    model = person(0, 200_000)
    distances = [np.abs(double(0, pid, 200_000).betas - model.betas).mean() for pid in range(280_001, 280_021, 2)]
    others = [np.abs(person(0, pid).betas - model.betas).mean() for pid in range(280_001, 280_021, 2)]
    assert 0.05 < np.mean(distances) < 0.5 * np.mean(others)
    near = outfit(0, 280_000, 1, 3, like=200_000, extras=True)
    same = outfit(0, 200_000, 1, 3, extras=True)
    assert np.abs(near.upper.colour - same.upper.colour).max() < 0.12
    assert near.upper.pattern == same.upper.pattern
    assert (near.bag is None) == (same.bag is None)
    assert stranger(0, 1).upper.seed != stranger(0, 2).upper.seed
