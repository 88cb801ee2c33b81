"""The z-buffer against a slow float64 one, and what it promises of its own: no gaps, no overlaps, first wins ties."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.rendering.rasteriser import DRAW, HIDE_LOWER, HIDE_UPPER, SKIP, project_vertices, rasterise
from resight.rendering.samples import face_of, nearness_of, pack, pack_samples, unpack_samples
from tests.reference.rasteriser import rasterise as slow_rasterise

HEIGHT, WIDTH = 20, 24


def _camera() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At the origin, looking along +z with y up: x points left in the world, so that right and down make forward."""
    rotation = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    return np.zeros(3), rotation, np.array([20.0, 20.0, WIDTH / 2, HEIGHT / 2])


def _draw(
    vertices: np.ndarray, faces: np.ndarray, mode: np.ndarray | None = None, along: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    screen, inverse = project_vertices(vertices, *_camera())
    count = len(faces)
    samples = rasterise(
        screen,
        inverse,
        faces.astype(np.int32),
        np.zeros(count, np.uint8) if mode is None else mode,
        np.zeros(len(vertices)) if along is None else along,
        np.full(count, 0.5),
        HEIGHT,
        WIDTH,
    )
    return unpack_samples(samples)


def _triangles(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vertices = rng.uniform((-1.2, -1.0, 1.0), (1.2, 1.0, 4.0), (3 * count, 3))
    return vertices, np.arange(3 * count).reshape(count, 3)


def _quad(z: float) -> np.ndarray:
    """Four corners that cover the image at depth z."""
    return np.array([[-3.0, -3.0, z], [3.0, -3.0, z], [3.0, 3.0, z], [-3.0, 3.0, z]])


QUAD = np.array([[0, 2, 1], [0, 3, 2]])  # faces -z: the camera


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9))
def test_agrees_with_the_float64_reference(seed: int, count: int) -> None:
    vertices, faces = _triangles(seed, count)
    seen, nearest = _draw(vertices, faces)
    pixel = vertices[:, :2] * -20 / vertices[:, 2:] + (WIDTH / 2, HEIGHT / 2)
    slow = slow_rasterise(pixel, vertices[:, 2], faces, HEIGHT, WIDTH)
    sure = (slow.margin > 1 / 64) & (slow.gap > 1e-2)  # ours snaps corners to 1/256 of a pixel
    np.testing.assert_array_equal(seen[sure], slow.face[sure])
    thick = sure & (slow.face >= 0) & (slow.margin > 0.5)
    np.testing.assert_allclose(1 / nearest[thick], slow.depth[thick], rtol=2e-2)
    assert sure.mean() > 0.5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_neighbours_share_every_sample_of_their_edge(seed: int) -> None:
    """A plane cut into triangles at random: each sample belongs to exactly one of them."""
    rng = np.random.default_rng(seed)
    cells = 6
    grid = np.stack(np.meshgrid(np.arange(cells + 1.0), np.arange(cells + 1.0)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-0.2, 0.2, (cells - 1, cells - 1, 2))
    vertices = np.concatenate([grid.reshape(-1, 2) * (-3.0 / cells) + 1.5, np.full(((cells + 1) ** 2, 1), 2.0)], axis=1)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = corner, corner + 1, corner + cells + 1, corner + cells + 2
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    times = sum((_draw(vertices, face[None])[0] >= 0).astype(int) for face in faces)
    whole = _draw(vertices, faces)[0]
    assert (whole >= 0).all() or (whole < 0).all()
    np.testing.assert_array_equal(times, np.where(whole >= 0, 1, 0))


def test_depth_is_exact_on_a_slanted_plane() -> None:
    """Inverse depth is linear in the image: a floor seen from above, checked against the ray's meeting point."""
    floor = np.array([[-9.0, -1.0, 0.6], [9.0, -1.0, 0.6], [9.0, -1.0, 50.0], [-9.0, -1.0, 50.0]])
    seen, nearest = _draw(floor, QUAD)
    rows = np.nonzero((seen >= 0).all(axis=1))[0]
    assert len(rows) > 5
    expected = 20.0 / (rows + 0.5 - HEIGHT / 2)
    np.testing.assert_allclose(1 / nearest[rows, 3], expected, rtol=1e-2)


def test_the_nearer_face_wins_and_the_first_of_equals() -> None:
    vertices = np.concatenate([_quad(3.0), _quad(2.0), _quad(2.0)])
    faces = np.concatenate([QUAD, QUAD + 4, QUAD + 8])
    seen, _ = _draw(vertices, faces)
    assert set(np.unique(seen)) == {2, 3}


def test_faces_seen_from_behind_or_too_near_are_not_drawn() -> None:
    assert (_draw(_quad(2.0), QUAD[:, ::-1])[0] == -1).all()
    assert (_draw(_quad(0.01), QUAD)[0] == -1).all()
    assert (_draw(_quad(-2.0), QUAD)[0] == -1).all()


def test_modes_hide_faces_or_one_side_of_the_cut() -> None:
    vertices, along = _quad(2.0), np.array([0.0, 1.0, 1.0, 0.0])  # grows with the world's x, to the image's left
    shown = {mode: _draw(vertices, QUAD, np.full(2, mode, np.uint8), along)[0] >= 0 for mode in range(4)}
    left = np.broadcast_to(np.arange(WIDTH) < WIDTH / 2, (HEIGHT, WIDTH))
    assert shown[DRAW].all()
    assert not shown[SKIP].any()
    np.testing.assert_array_equal(shown[HIDE_LOWER], ~left)
    np.testing.assert_array_equal(shown[HIDE_UPPER], left)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_samples_are_what_was_packed_and_the_nearer_face_is_the_greater(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = rng.integers(-1, 2**31 - 1, 64, dtype=np.int32)
    nearest = np.where(seen < 0, 0, rng.uniform(0.01, 20, 64)).astype(np.float32)
    samples = pack_samples(seen, nearest)
    assert all(np.array_equal(*pair) for pair in zip(unpack_samples(samples), (seen, nearest), strict=True))
    assert [(face_of(code), nearness_of(code)) for code in samples] == list(zip(seen, nearest, strict=True))
    order = np.lexsort((seen, -nearest))  # the nearest first, of equally near ones the first; nothing last
    drawn = order[seen[order] >= 0]
    assert (np.diff(samples[drawn].astype(object)) <= 0).all()
    assert [pack(near, face) for near, face in zip(nearest[drawn], seen[drawn], strict=True)] == list(samples[drawn])
    assert (samples[seen < 0] == 0).all()
