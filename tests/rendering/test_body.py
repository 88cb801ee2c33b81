"""The capsule body: a valid SMPL-format body whose joints follow its shape, and files that survive a round trip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from resight.cluster.errors import UserError
from resight.rendering.body import Body, load_body, save_body
from resight.rendering.capsule import capsule_body
from resight.rendering.parts import JOINT_ID, LIMBS, NUM_PARTS, PARENTS, PART_ID, PARTS, VERTEX_NAMES
from resight.rendering.profiles import ARM, HEAD, TRUNK, sample


@pytest.fixture(scope="module")
def body() -> Body:
    return capsule_body()


def _joints(body: Body, betas: np.ndarray) -> dict[str, np.ndarray]:
    shaped = body.v_template + body.shapedirs @ betas.astype(np.float32)
    return dict(zip(JOINT_ID, body.J_regressor @ shaped, strict=True))


def test_arrays_have_the_published_shapes_and_sums(body: Body) -> None:
    count = len(body.v_template)
    assert body.shapedirs.shape == (count, 3, 10)
    assert body.posedirs.shape == (count, 3, 207)
    assert 3000 <= len(body.f) <= 6000
    np.testing.assert_allclose(body.weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(body.J_regressor.sum(axis=1), 1, atol=1e-5)
    assert (body.weights >= 0).all()
    assert tuple(body.kintree_table[0]) == PARENTS
    assert all(parent < child for child, parent in enumerate(PARENTS))


def test_it_stands_upright_metres_pelvis_at_the_origin(body: Body) -> None:
    low, high = body.v_template.min(axis=0), body.v_template.max(axis=0)
    assert 1.6 < high[1] - low[1] < 1.8
    joints = _joints(body, np.zeros(10))
    np.testing.assert_allclose(joints["pelvis"], 0, atol=1e-5)
    assert joints["left_hip"][0] > 0 > joints["right_hip"][0]
    assert joints["left_foot"][2] > joints["left_ankle"][2]  # toes point along +z
    order = ("head", "neck", "spine3", "spine2", "spine1", "pelvis", "left_hip", "left_knee", "left_ankle")
    heights = [joints[name][1] for name in order]
    assert heights == sorted(heights, reverse=True)


def test_it_is_symmetric(body: Body) -> None:
    flipped = body.v_template * np.array([-1, 1, 1], np.float32)
    there = {tuple(point) for point in np.round(body.v_template, 5).tolist()}
    missing = [point for point in np.round(flipped, 5).tolist() if tuple(np.array(point) + 0.0) not in there]
    assert len(missing) < 0.02 * len(flipped)  # -0.0 and rounding aside


def test_every_tube_is_watertight_and_turned_outwards(body: Body) -> None:
    edges = np.concatenate([body.f[:, [0, 1]], body.f[:, [1, 2]], body.f[:, [2, 0]]]).tolist()
    directed = {tuple(edge) for edge in edges}
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)
    a, b, c = np.moveaxis(body.v_template[body.f].astype(np.float64), 1, 0)
    assert 0.06 < np.sum(a * np.cross(b, c)) / 6 < 0.12  # cubic metres


def test_no_vertex_follows_joints_that_are_not_neighbours(body: Body) -> None:
    """At most two steps along the skeleton: parent and child, or the children of one joint."""
    steps = np.full((24, 24), 9)
    for child, parent in list(enumerate(PARENTS))[1:]:
        steps[child, :child] = steps[:child, child] = 1 + steps[parent, :child]
        steps[child, parent] = steps[parent, child] = 1
    np.fill_diagonal(steps, 0)
    together = (body.weights > 0.01).T.astype(int) @ (body.weights > 0.01) > 0
    assert steps[together].max() <= 2


def test_left_weights_never_follow_right_joints_on_limbs(body: Body) -> None:
    for part in PARTS:
        side, _, rest = part.partition("_")
        if side not in ("left", "right"):
            continue
        vertices = np.unique(body.f[body.face_part == PART_ID[part]])
        other = "right" if side == "left" else "left"
        wrong = [number for name, number in JOINT_ID.items() if name.startswith(other)]
        assert body.weights[vertices][:, wrong].max() == 0, rest


@pytest.mark.parametrize(
    ("component", "measure"),
    [
        (4, lambda j: j["left_hip"][1] - j["left_ankle"][1]),
        (5, lambda j: j["neck"][1] - j["pelvis"][1]),
        (6, lambda j: np.linalg.norm(j["left_wrist"] - j["left_shoulder"])),
        (2, lambda j: j["left_shoulder"][0] - j["right_shoulder"][0]),
        (3, lambda j: j["left_hip"][0] - j["right_hip"][0]),
        (0, lambda j: j["head"][1] - j["left_ankle"][1]),
    ],
)
def test_joints_follow_shape(body: Body, component: int, measure: Callable[[dict[str, np.ndarray]], float]) -> None:
    less, more = (_joints(body, sign * 2 * np.eye(10)[component]) for sign in (-1, 1))
    assert measure(more) > 1.05 * measure(less)


def test_joints_stay_inside_their_limbs_for_extreme_shapes(body: Body) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        betas = rng.normal(0, 1.2, 10).astype(np.float32)
        shaped = body.v_template + body.shapedirs @ betas
        joints = body.J_regressor @ shaped
        for name, tube in {"left_knee": "left_shin", "right_elbow": "right_forearm", "left_wrist": "left_hand"}.items():
            vertices = shaped[np.unique(body.f[body.face_part == PART_ID[tube]])]
            nearest = vertices[np.argsort(np.linalg.norm(vertices - joints[JOINT_ID[name]], axis=1))[:8]]
            assert np.linalg.norm(nearest.mean(axis=0) - joints[JOINT_ID[name]]) < 0.035


def test_parts_and_along_cover_everything(body: Body) -> None:
    assert set(np.unique(body.face_part).tolist()) == set(range(1, NUM_PARTS + 1))
    assert body.along.min() == 0
    assert body.along.max() == 1
    thigh = body.along[np.unique(body.f[body.face_part == PART_ID["left_thigh"]])]
    assert thigh.max() == pytest.approx(LIMBS["leg"]["knee"])
    hand = body.along[np.unique(body.f[body.face_part == PART_ID["left_hand"]])]
    assert hand.min() == pytest.approx(LIMBS["arm"]["wrist"])


def test_named_vertices_are_where_they_should_be(body: Body) -> None:
    assert tuple(body.vertex_ids) == VERTEX_NAMES
    place = {name: body.v_template[number] for name, number in body.vertex_ids.items()}
    assert place["nose"][2] > place["leye"][2] > place["lear"][2]
    np.testing.assert_allclose(place["leye"] * (-1, 1, 1), place["reye"], atol=1e-5)
    assert place["LBigToe"][2] > place["LHeel"][2] + 0.2
    assert place["nose"][1] < place["leye"][1]


def test_a_saved_body_comes_back(body: Body, tmp_path: Path) -> None:
    path = tmp_path / "body.npz"
    save_body(body, path)
    again = load_body(path)
    for name in ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f", "face_part", "along"):
        np.testing.assert_array_equal(getattr(again, name), getattr(body, name))
    assert again.vertex_ids == body.vertex_ids


def test_a_file_of_the_seven_arrays_alone_gets_parts_and_along(body: Body, tmp_path: Path) -> None:
    path = tmp_path / "seven.npz"
    kintree = body.kintree_table.astype(np.int64)
    kintree[0, 0] = 2**32 - 1
    seven = {
        name: getattr(body, name) for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
    }
    np.savez(path, **seven, kintree_table=kintree)
    again = load_body(path)
    assert again.vertex_ids == {}
    bald = body.face_part != PART_ID["hair"]
    assert np.mean(again.face_part[bald] == body.face_part[bald]) > 0.85
    legs = np.unique(body.f[np.isin(body.face_part, [PART_ID["left_thigh"], PART_ID["left_shin"]])])
    legs = legs[np.abs(body.along[legs] - 0.5) < 0.4]  # beyond, pelvis and foot move the vertices
    assert np.corrcoef(again.along[legs], body.along[legs])[0, 1] > 0.98


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": None}, "lacks weights"),
        ({"weights": np.zeros((5, 24))}, "disagree"),
        ({"posedirs": np.zeros((1, 3, 9))}, "posedirs has shape"),
        ({"f": np.array([[0, 1, 10**6]])}, "do not exist"),
        ({"kintree_table": np.zeros((2, 24), int)}, "SMPL's parents"),
    ],
)
def test_a_broken_body_is_refused_with_its_reason(
    body: Body, tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    arrays = {name: getattr(body, name) for name in names} | change
    present: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
    np.savez(tmp_path / "broken.npz", **present)
    with pytest.raises(UserError, match=message):
        load_body(tmp_path / "broken.npz")


def test_what_is_no_body_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such body file"):
        load_body(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match="not a body file"):
        load_body(tmp_path / "text.npz")


@pytest.mark.parametrize("table", [TRUNK, ARM, HEAD])
def test_profiles_run_along_monotone_cubics(table: np.ndarray) -> None:
    positions = np.linspace(table[:, 0].min(), table[:, 0].max(), 300)
    np.testing.assert_allclose(sample(table, table[:, 0]), table[:, 1:], atol=1e-12)
    expected = PchipInterpolator(table[:, 0], table[:, 1:], axis=0)(positions)
    np.testing.assert_allclose(sample(table, positions), expected, atol=1e-12)
