"""Walking and standing: rotations that do what a gait does, for any phase and manner."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.rendering.capsule import capsule_body
from resight.rendering.parts import JOINT_ID
from resight.rendering.poses import Gait, standing, walking
from resight.rendering.skinning import skin_one


def _joints(pose: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(JOINT_ID, skin_one(capsule_body(), np.zeros(10), pose, np.zeros(3))[1], strict=True))


@settings(max_examples=30, deadline=None)
@given(phase=st.floats(0, 1), speed=st.floats(0.6, 2.0), stride=st.floats(0.8, 1.2), heading=st.floats(-7, 7))
def test_every_pose_is_finite_and_turns_no_joint_too_far(
    phase: float, speed: float, stride: float, heading: float
) -> None:
    pose = walking(phase, Gait(speed=speed, stride=stride), heading=heading)
    assert pose.shape == (24, 3)
    assert pose.dtype == np.float32
    angles = np.linalg.norm(pose, axis=1)
    assert np.isfinite(angles).all()
    assert angles[1:].max() < 1.8  # nothing but the root turns right round
    knees = _joints(walking(phase, Gait(speed=speed, stride=stride)))
    for side in ("left", "right"):  # a knee never bends forwards: it stays ahead of the line from hip to ankle
        hip, knee, ankle = (knees[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        along = (knee - hip)[1] / (ankle - hip)[1]
        assert knee[2] > hip[2] + along * (ankle - hip)[2] - 0.02


def test_the_gait_is_periodic_and_changes_sides_after_half_a_turn() -> None:
    np.testing.assert_allclose(walking(0.3), walking(1.3), atol=1e-6)
    here, there = _joints(walking(0.2)), _joints(walking(0.7))
    for name in ("knee", "ankle", "wrist"):
        mirrored = here[f"left_{name}"] * (-1, 1, 1)
        np.testing.assert_allclose(there[f"right_{name}"], mirrored, atol=2e-3)


def test_at_heel_strike_the_left_leg_and_the_right_arm_are_in_front() -> None:
    joints = _joints(walking(0.0))
    assert joints["left_ankle"][2] > joints["right_ankle"][2] + 0.4
    assert joints["right_wrist"][2] > joints["left_wrist"][2] + 0.2
    assert 0.45 < joints["left_ankle"][2] - joints["right_ankle"][2] < 0.9


def test_the_swinging_foot_is_lifted_and_the_standing_one_is_not() -> None:
    joints = _joints(walking(0.75))  # the left leg swings
    assert joints["left_ankle"][1] > joints["right_ankle"][1] + 0.05
    assert abs(_joints(walking(0.3))["left_knee"][2]) < 0.2


@pytest.mark.parametrize(("name", "joint"), [("stride", "ankle"), ("arm_swing", "wrist")])
def test_the_manner_sets_how_far_limbs_swing(name: str, joint: str) -> None:
    reaches = []
    for value in (0.8, 1.2):
        joints = _joints(walking(0.0, Gait(**{name: value})))
        reaches.append(abs(joints[f"left_{joint}"][2] - joints[f"right_{joint}"][2]))
    assert reaches[1] > 1.2 * reaches[0]


def test_lean_brings_the_head_forwards_and_heading_turns_the_person() -> None:
    upright, leaning = (_joints(walking(0.25, Gait(lean=lean)))["head"][2] for lean in (0.0, 0.15))
    assert leaning > upright + 0.04
    turned = _joints(standing(heading=np.pi / 2))
    assert turned["left_shoulder"][2] == pytest.approx(-_joints(standing())["left_shoulder"][0], abs=1e-3)


def test_hands_hang_beside_the_hips_not_in_them() -> None:
    for pose in (standing(), *(walking(phase) for phase in np.linspace(0, 1, 8, endpoint=False))):
        vertices, joints = skin_one(capsule_body(), np.zeros(10), pose, np.zeros(3))
        for side in ("left", "right"):
            assert abs(joints[JOINT_ID[f"{side}_wrist"], 0]) > 0.19
        assert vertices[:, 1].min() < -0.8


def test_shifting_the_weight_bends_the_other_knee() -> None:
    left, right = standing(shift=1.0), standing(shift=-1.0)
    assert left[JOINT_ID["right_knee"], 0] > 0.3 > 0.01 > abs(left[JOINT_ID["left_knee"], 0])
    assert right[JOINT_ID["left_knee"], 0] > 0.3
    assert np.abs(standing()[JOINT_ID["left_knee"]]).max() < 1e-6


def test_a_half_turn_has_an_axis_too() -> None:
    for heading in (np.pi, -np.pi, 3 * np.pi):
        pose = standing(Gait(lean=0.0), heading=heading)
        assert np.linalg.norm(pose[0]) == pytest.approx(np.pi, abs=1e-5)
        facing = _joints(pose)
        assert facing["left_shoulder"][0] < -0.1
