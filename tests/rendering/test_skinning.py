"""Skinning against `smplx` on the same arrays, against first principles, and against itself in other dtypes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from resight.rendering.batched_skinning import rotation_matrices, skin
from resight.rendering.body import Body
from resight.rendering.capsule import capsule_body
from resight.rendering.parts import JOINT_ID
from resight.rendering.skinning import rest_vertices, skin_one


@pytest.fixture(scope="module")
def body() -> Body:
    return capsule_body()


def _draw(batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    betas = torch.randn(batch, 10, generator=generator, dtype=torch.float64)
    pose = 0.5 * torch.randn(batch, 24, 3, generator=generator, dtype=torch.float64)
    return betas, pose, torch.randn(batch, 3, generator=generator, dtype=torch.float64)


def test_agrees_with_smplx(body: Body, capsys: pytest.CaptureFixture[str]) -> None:
    smplx = pytest.importorskip("smplx")
    from smplx.utils import Struct

    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    arrays = Struct(**{name: getattr(body, name) for name in names})
    theirs = smplx.SMPL("", data_struct=arrays, vertex_ids=body.vertex_ids, batch_size=3)
    capsys.readouterr()  # it prints that there are only ten shape coefficients
    betas, pose, translation = (tensor.float() for tensor in _draw(3))
    expected = theirs(
        betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:].flatten(1), transl=translation, return_verts=True
    )
    vertices, joints = skin(body, betas, pose, translation)
    assert torch.allclose(vertices, expected.vertices, atol=1e-5, rtol=0)
    assert torch.allclose(joints, expected.joints[:, :24], atol=1e-5, rtol=0)
    nose = vertices[:, body.vertex_ids["nose"]]
    assert torch.allclose(nose, expected.joints[:, 24], atol=1e-5, rtol=0)


def test_agrees_with_smplx_on_pose_correctives(body: Body, capsys: pytest.CaptureFixture[str]) -> None:
    smplx = pytest.importorskip("smplx")
    from smplx.utils import Struct

    rng = np.random.default_rng(0)
    corrected = replace(body, posedirs=rng.normal(0, 1e-3, body.posedirs.shape).astype(np.float32))
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    arrays = Struct(**{name: getattr(corrected, name) for name in names})
    theirs = smplx.SMPL("", data_struct=arrays, vertex_ids=body.vertex_ids, batch_size=2)
    capsys.readouterr()
    betas, pose, translation = (tensor.float() for tensor in _draw(2, seed=1))
    expected = theirs(betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:].flatten(1), transl=translation)
    vertices, _ = skin(corrected, betas, pose, translation)
    assert torch.allclose(vertices, expected.vertices, atol=1e-5, rtol=0)
    for index in range(2):
        one, _ = skin_one(corrected, betas[index].numpy(), pose[index].numpy(), translation[index].numpy())
        np.testing.assert_allclose(one, vertices[index].numpy(), atol=5e-6)


def test_rest_pose_and_translation(body: Body) -> None:
    betas, _, translation = _draw(2)
    vertices, joints = skin(body, betas, torch.zeros(2, 24, 3, dtype=torch.float64), translation)
    for index in range(2):
        rest = rest_vertices(body, betas[index].numpy())
        np.testing.assert_allclose(vertices[index].numpy() - translation[index].numpy(), rest, atol=1e-6)
        np.testing.assert_allclose((joints[index] - translation[index]).numpy(), body.J_regressor @ rest, atol=1e-6)


def test_turning_the_root_turns_everything(body: Body) -> None:
    pose = torch.zeros(1, 24, 3, dtype=torch.float64)
    pose[0, 0] = torch.tensor([0.3, -1.2, 0.5])
    zero = torch.zeros(1, 10, dtype=torch.float64)
    still, _ = skin(body, zero, torch.zeros_like(pose), torch.zeros(1, 3, dtype=torch.float64))
    turned, _ = skin(body, zero, pose, torch.zeros(1, 3, dtype=torch.float64))
    root = body.J_regressor[0] @ body.v_template
    expected = Rotation.from_rotvec(pose[0, 0].numpy()).apply(still[0].numpy() - root) + root
    np.testing.assert_allclose(turned[0].numpy(), expected, atol=1e-5)


def test_bones_keep_their_lengths(body: Body) -> None:
    betas, pose, translation = _draw(4)
    _, joints = skin(body, betas, pose, translation)
    _, rest = skin(body, betas, torch.zeros_like(pose), translation)
    for child, parent in (("left_knee", "left_hip"), ("right_wrist", "right_elbow"), ("head", "neck")):
        a, b = JOINT_ID[child], JOINT_ID[parent]
        posed, still = ((j[:, a] - j[:, b]).norm(dim=1) for j in (joints, rest))
        assert torch.allclose(posed, still, atol=1e-9)


def test_one_body_agrees_with_the_batch(body: Body) -> None:
    betas, pose, translation = _draw(3)
    vertices, joints = skin(body, betas, pose, translation)
    for index in range(3):
        one = skin_one(body, betas[index].numpy(), pose[index].numpy(), translation[index].numpy())
        np.testing.assert_allclose(one[0], vertices[index].numpy(), atol=2e-6)
        np.testing.assert_allclose(one[1], joints[index].numpy(), atol=2e-6)
        assert one[0].dtype == one[1].dtype == np.float32


def test_float32_is_close_to_float64(body: Body) -> None:
    wide = skin(body, *_draw(2))[0]
    narrow = skin(body, *(tensor.float() for tensor in _draw(2)))[0]
    assert narrow.dtype == torch.float32
    assert torch.allclose(narrow.double(), wide, atol=5e-6, rtol=0)


def _few_vertices(body: Body) -> Body:
    """The body reduced to 60 vertices: gradients are checked by many forward passes."""
    kept = np.arange(0, len(body.v_template), len(body.v_template) // 60)
    regressor = np.random.default_rng(0).random((24, len(kept))).astype(np.float32)
    return replace(
        body,
        v_template=body.v_template[kept],
        shapedirs=body.shapedirs[kept],
        posedirs=body.posedirs[kept],
        weights=body.weights[kept],
        J_regressor=regressor / regressor.sum(axis=1, keepdims=True),
    )


def test_gradients_reach_shape_pose_and_translation(body: Body) -> None:
    few = _few_vertices(body)
    inputs = [tensor.requires_grad_() for tensor in _draw(1, seed=3)]
    assert torch.autograd.gradcheck(lambda *args: skin(few, *args), inputs, fast_mode=True)
    at_rest = [tensor.detach().mul(0).requires_grad_() for tensor in inputs]
    vertices, joints = skin(body, *at_rest)
    (vertices.sum() + joints.sum()).backward()
    assert all(tensor.grad is not None and bool(torch.isfinite(tensor.grad).all()) for tensor in at_rest)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-5, 1e-3, 0.5, 3.1, 7.0])
def test_rotations_agree_with_scipy(size: float) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 3))
    vectors *= size / np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = rotation_matrices(torch.as_tensor(vectors)).numpy()
    np.testing.assert_allclose(ours, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
