"""Baking on a body that is drawn by hand: shapes come back as components, joints as means of vertices."""

from typing import Any

import numpy as np
import pytest

from resight.rendering import bake as baking
from resight.rendering.annysource import Drawn
from resight.rendering.bake import bake, main, principal_shapes
from resight.rendering.capsule import capsule_body
from resight.rendering.measure import measurements
from resight.rendering.parts import JOINT_ID, PART_ID


def _drawn(count: int) -> tuple[Drawn, np.ndarray]:
    """Capsule people, bones named as anny's: each joint's weights on the first bone that it takes."""
    body = capsule_body()
    bald = body.f[body.face_part != PART_ID["hair"]]
    kept = np.unique(bald)
    number = np.full(len(body.v_template), -1)
    number[kept] = np.arange(len(kept))
    betas = np.random.default_rng(0).standard_normal((count, 10)) * np.array([2, 1.5, 1, 0, 0, 0, 0, 0, 0, 0])
    shaped = body.v_template.astype(np.float64) + np.einsum("vck,sk->svc", body.shapedirs.astype(np.float64), betas)
    joints = np.einsum("jv,svc->sjc", body.J_regressor.astype(np.float64), shaped)
    bones: list[str] = []
    heads: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    table: dict[str, Any] = baking._bones()  # pyright: ignore[reportPrivateUsage]
    for joint, (at, owned) in table.items():
        for bone in dict.fromkeys((*at, *owned)):
            if bone not in bones:
                bones.append(bone)
                heads.append(joints[:, JOINT_ID[joint]])
                weights.append(np.zeros(len(kept)))
        weights[bones.index(owned[0])] = body.weights[kept, JOINT_ID[joint]].astype(np.float64)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        heads[bones.index(f"eye.{side}")] = joints[:, JOINT_ID["head"]] + (0.032 * sign, 0.1, 0.09)
    return Drawn(
        rest=shaped[:, kept], heads=np.stack(heads, 1), bones=tuple(bones), faces=number[bald],
        weights=np.stack(weights, 1), package="by hand 1",
    ), betas  # fmt: skip


def test_a_baked_body_has_the_drawn_people_s_shapes_and_joints() -> None:
    drawn, _ = _drawn(60)
    body = bake(drawn, target=1200)
    assert len(body.v_template) < 1800
    middle = drawn.heads.mean(axis=0) - drawn.heads[:, drawn.bones.index("root")].mean(axis=0)
    knee = body.J_regressor[JOINT_ID["left_knee"]] @ body.v_template
    np.testing.assert_allclose(knee, middle[drawn.bones.index("lowerleg01.L")], atol=4e-3)
    np.testing.assert_allclose(body.weights.sum(axis=1), 1, atol=1e-6)
    assert (body.weights > 0).sum(axis=1).max() <= 5  # four, and one more where an edge was cut
    size = np.abs(body.shapedirs).mean(axis=(0, 1))
    assert size[0] > size[1] > size[2] > 50 * size[4]  # three ways to differ were drawn
    tall, small = (measurements(body, np.eye(10)[0] * s)["height"] for s in (2.0, -2.0))
    assert abs(tall - small) > 0.2
    assert body.word_scale


def test_components_span_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    mean, ways = rng.normal(size=(40, 3)), rng.normal(size=(3, 40, 3))
    faces = np.stack([np.arange(38), np.arange(1, 39), np.arange(2, 40)], 1)
    scores = rng.standard_normal((500, 3)) * (3.0, 2.0, 1.0)
    found, steps = principal_shapes(mean + np.einsum("sk,kvc->svc", scores, ways), faces)
    for way in ways:
        basis = steps[:, :, :3].reshape(-1, 3)
        rest = way.ravel() - basis @ np.linalg.lstsq(basis, way.ravel(), rcond=None)[0]
        assert np.abs(rest).max() < 1e-3
    np.testing.assert_allclose(found, mean + np.einsum("k,kvc->vc", scores.mean(0), ways), atol=1e-5)
    assert np.abs(steps[:, :, 3:]).max() < 1e-4


def test_the_script_says_how_it_is_called() -> None:
    with pytest.raises(SystemExit, match=r"usage: .*OUT\.npz"):
        main([])
