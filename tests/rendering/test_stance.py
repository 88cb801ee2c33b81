"""One pose for every body: limbs point the same way whatever pose a body rests in, and poses stay within anatomy."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from resight.rendering.activities import carrying, reaching, sitting
from resight.rendering.bodies import find_body
from resight.rendering.capsule import capsule_body
from resight.rendering.parts import JOINT_ID
from resight.rendering.poses import standing, walking
from resight.rendering.rotations import matrices, rotation_vectors
from resight.rendering.skinning import rest_vertices, skin_one
from resight.rendering.stance import STANCE, fitted, from_t_pose, in_stance

POSES: dict[str, Callable[[], np.ndarray]] = {
    "walking": lambda: walking(0.3, heading=0.4),
    "standing": lambda: standing(shift=0.8),
    "sitting": sitting,
    "reaching": reaching,
    "carrying": lambda: carrying(0.6, what="bag"),
}


def _directions(joints: np.ndarray) -> dict[str, np.ndarray]:
    out = {}
    for side in ("left", "right"):
        for joint, (end, _) in STANCE.items():
            bone = joints[JOINT_ID[f"{side}_{end}"]] - joints[JOINT_ID[f"{side}_{joint}"]]
            out[f"{side}_{joint}"] = bone / np.linalg.norm(bone)
    return out


@pytest.mark.parametrize("name", POSES)
def test_limbs_of_both_bodies_point_the_same_way(name: str) -> None:
    pose, zero = POSES[name](), np.zeros(3)
    one, other = (
        _directions(skin_one(body, np.zeros(10), fitted(body, pose), zero)[1])
        for body in (capsule_body(), find_body("anny"))
    )
    for bone, direction in one.items():
        np.testing.assert_allclose(other[bone], direction, atol=2e-3)


def test_the_capsule_body_rests_in_the_stance() -> None:
    body, pose = capsule_body(), walking(0.2)
    assert fitted(body, pose) is pose
    assert not in_stance(body).any()


def test_patterns_are_painted_on_hanging_arms() -> None:
    body = find_body("anny")
    resting = rest_vertices(body, np.zeros(10))
    hand = body.vertex_ids["lmiddle"]
    assert body.v_template[hand][0] > 0.45
    assert resting[hand][0] < 0.42
    pelvis = body.J_regressor[0] @ resting
    np.testing.assert_allclose(pelvis, 0, atol=3e-3)


def test_a_t_pose_of_zeros_spreads_the_arms_of_every_body() -> None:
    for body in (capsule_body(), find_body("anny")):
        pose = fitted(body, from_t_pose(np.zeros((24, 3), np.float32)))
        directions = _directions(skin_one(body, np.zeros(10), pose, np.zeros(3))[1])
        assert directions["left_shoulder"][0] > 0.98
        assert directions["right_elbow"][0] < -0.98
        assert directions["left_knee"][1] < -0.98


def test_rotations_agree_with_scipy() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 3)) * 1.2
    np.testing.assert_allclose(matrices(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    again = Rotation.from_rotvec(rotation_vectors(matrices(vectors))).as_matrix()
    np.testing.assert_allclose(again, matrices(vectors), atol=1e-6)


RANGES = {
    "hip": 2.2,
    "knee": 2.5,
    "ankle": 0.9,
    "shoulder": 3.15,
    "elbow": 2.7,
    "spine1": 0.6,
    "neck": 0.8,
    "head": 0.8,
}
"""Largest turns of healthy adults, radians, rounded up."""


def _anatomical(pose: np.ndarray) -> None:
    turns = np.linalg.norm(pose, axis=1)
    for joint, number in JOINT_ID.items():
        assert turns[number] < RANGES.get(joint.split("_")[-1], 3.15), joint
    for side in ("left", "right"):
        assert pose[JOINT_ID[f"{side}_knee"]][0] > -0.05, "knees bend backwards only"
        assert pose[JOINT_ID[f"{side}_elbow"]][0] < 0.05, "elbows bend forwards only"


@pytest.mark.parametrize("phase", np.linspace(0, 1, 9).tolist())
def test_walks_and_loads_keep_to_anatomy_and_repeat(phase: float) -> None:
    for make in (walking, carrying, lambda p: carrying(p, what="bag")):
        _anatomical(make(phase))
        np.testing.assert_allclose(make(phase), make(phase + 1), atol=1e-6)


@pytest.mark.parametrize(
    "pose", [sitting(), sitting(recline=0.4, feet=-0.4), reaching(height=0.6), reaching(height=2.6)]
)
def test_still_poses_keep_to_anatomy(pose: np.ndarray) -> None:
    _anatomical(pose)


def test_sitting_and_reaching_are_what_they_say() -> None:
    body = find_body("anny")

    def joints(pose: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(JOINT_ID, skin_one(body, np.zeros(10), fitted(body, pose), np.zeros(3))[1], strict=True))

    seated = joints(sitting())
    assert abs(seated["left_hip"][1] - seated["left_knee"][1]) < 0.1
    assert seated["left_knee"][2] - seated["left_hip"][2] > 0.35
    assert seated["left_knee"][1] - seated["left_ankle"][1] > 0.35
    up = joints(reaching(side="left"))
    assert up["left_wrist"][1] > up["head"][1]
    assert up["right_wrist"][1] < up["pelvis"][1] + 0.1
    box = joints(carrying(0.0))
    assert box["left_wrist"][2] > box["spine1"][2] + 0.25
    assert abs(box["left_wrist"][1] - box["right_wrist"][1]) < 0.1
