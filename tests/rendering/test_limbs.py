"""Limbs of any body: rims lie where they should, every limb has its coordinate, meshes thin and stay closed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.rendering.bodies import find_body
from resight.rendering.body import Body
from resight.rendering.collapse import mirror_of, thin
from resight.rendering.limbs import ANKLE
from resight.rendering.parts import LIMBS, PART_ID
from resight.rendering.rims import cut_faces


@pytest.fixture(scope="module")
def body() -> Body:
    return find_body("anny")


def _vertices(body: Body, *parts: str) -> np.ndarray:
    return np.unique(body.f[np.isin(body.face_part, [PART_ID[part] for part in parts])])


@pytest.mark.parametrize("side", ["left", "right"])
def test_limbs_run_from_end_to_end(body: Body, side: str) -> None:
    arm = body.along[_vertices(body, f"{side}_upper_arm", f"{side}_forearm", f"{side}_hand")]
    assert arm.min() < 0.05
    assert arm.max() > 0.97
    hand = body.along[_vertices(body, f"{side}_hand")]
    assert hand.min() > LIMBS["arm"]["wrist"] - 0.1
    thigh, shin = (body.along[_vertices(body, f"{side}_{part}")] for part in ("thigh", "shin"))
    assert thigh.max() < LIMBS["leg"]["knee"] + 0.08
    assert shin.min() > LIMBS["leg"]["knee"] - 0.08
    assert abs(shin.max() - ANKLE) < 0.05


def test_only_seams_let_a_limb_jump(body: Body) -> None:
    """Within a face `along` never goes from a trunk's end to a leg's beginning."""
    limb = np.isin(body.face_part, [PART_ID[f"{s}_{p}"] for s in ("left", "right") for p in ("thigh", "shin")])
    spread = np.ptp(body.along[body.f[limb]], axis=1)
    assert spread.max() < 0.25
    hips = body.along[body.f[body.face_part == PART_ID["hips"]]]
    assert hips.min() > 0.6


def test_necklines_and_shoes_end_on_a_line(body: Body) -> None:
    """The rim between two parts is a closed line as smooth as a knife cut: its points lie near a plane."""
    for one, other in (("neck", "torso"), ("left_shin", "left_foot")):
        rim = np.intersect1d(_vertices(body, one), _vertices(body, other))
        assert len(rim) >= 12
        at = body.v_template[rim] - body.v_template[rim].mean(axis=0)
        normal = np.linalg.svd(at)[2][2]
        assert np.abs(at @ normal).max() < 0.012


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), level=st.floats(-0.9, 0.9))
def test_cutting_keeps_the_surface_and_separates_the_sides(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    flat = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1).reshape(-1, 2) + rng.uniform(-0.3, 0.3, (36, 2))
    corner = (np.arange(5)[:, None] * 6 + np.arange(5)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 7], 1), np.stack([corner, corner + 7, corner + 6], 1)]
    )
    value = rng.uniform(-1, 1, 36)
    cut_up, cut = cut_faces(faces, value, level)
    at = cut.mix(flat)

    def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
        a, b, c = (points[triangles[:, k]] for k in range(3))
        return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2

    signed = areas(at, cut_up)
    assert (np.sign(signed) == np.sign(areas(flat, faces).mean())).mean() > 0.9 or (areas(flat, faces) < 0).any()
    assert signed.sum() == pytest.approx(areas(flat, faces).sum())
    mixed = cut.mix(value)
    np.testing.assert_allclose(mixed[36:], level, atol=0.25)  # snapping moves what is called the level
    edges = np.concatenate([cut_up[:, [0, 1]], cut_up[:, [1, 2]], cut_up[:, [2, 0]]])
    sides = mixed[edges] - level
    across = (sides[:, 0] * sides[:, 1] < 0) & (np.abs(sides).min(axis=1) > 0.25)
    assert not across.any()


def _sphere() -> tuple[np.ndarray, np.ndarray]:
    """An icosphere, symmetric about x = 0."""
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=2)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def test_a_thinned_sphere_is_closed_symmetric_and_round() -> None:
    vertices, faces = _sphere()
    count = len(vertices)
    kept, rest = thin(
        vertices,
        faces,
        target=80,
        mirror=mirror_of(vertices),
        worth=np.ones(count),
        features=np.zeros((count, 1)),
        hidden=np.zeros(count, bool),
    )
    assert 70 <= len(kept) <= 80
    edges = {tuple(e) for e in np.concatenate([rest[:, [0, 1]], rest[:, [1, 2]], rest[:, [2, 0]]]).tolist()}
    assert len(edges) == 3 * len(rest)
    assert all((b, a) in edges for a, b in edges)
    assert len(kept) - len(edges) // 2 + len(rest) == 2  # Euler: still a sphere
    mirror_of(vertices[kept])
    a, b, c = np.moveaxis(vertices[kept][rest], 1, 0)
    assert np.sum(a * np.cross(b, c)) / 6 == pytest.approx(4 / 3 * np.pi, rel=0.15)


def test_hidden_vertices_go_first() -> None:
    vertices, faces = _sphere()
    hidden = vertices[:, 2] > 0.7
    kept, _ = thin(
        vertices,
        faces,
        target=len(vertices) - int(hidden.sum()) + 6,
        mirror=mirror_of(vertices),
        worth=np.ones(len(vertices)),
        features=np.zeros((len(vertices), 1)),
        hidden=hidden,
    )
    assert hidden[kept].sum() <= 10
    assert (~hidden[kept]).sum() >= (~hidden).sum() - 6


def test_a_lopsided_mesh_is_told() -> None:
    vertices, _ = _sphere()
    with pytest.raises(ValueError, match="not symmetric"):
        mirror_of(vertices + np.array([0.01, 0, 0]))
