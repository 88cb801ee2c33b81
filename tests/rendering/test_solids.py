"""Things: closed meshes that face outwards, set down where they are asked to be."""

from typing import get_args

import numpy as np
import pytest

from resight.rendering.appearance import material
from resight.rendering.parts import PART_ID
from resight.rendering.solids import Shape, place, unit_shape

LOOK = material("plain", (0.5, 0.5, 0.5))


@pytest.mark.parametrize("shape", get_args(Shape))
def test_faces_point_outwards_and_fill_the_unit_cube(shape: Shape) -> None:
    body = unit_shape(shape, "hips")
    corners = body.v_template[body.f].astype(np.float64)
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outward * corners.mean(1)).sum(1) >= -1e-9).all()
    np.testing.assert_allclose(np.ptp(body.v_template, axis=0), 1, atol=1e-6)
    assert (body.face_part == PART_ID["hips"]).all()


@pytest.mark.parametrize(("shape", "volume"), [("box", 0.06), ("cushion", 0.06)])
def test_a_thing_has_its_size_wherever_it_is_turned(shape: Shape, volume: float) -> None:
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    solid = place(shape, centre=np.array([1.0, 2.0, 3.0]), size=(0.2, 0.3, 1.0), turn=turn, look=LOOK)
    np.testing.assert_allclose(np.ptp(solid.vertices, axis=0), [1.0, 0.3, 0.2], atol=1e-5)
    np.testing.assert_allclose((solid.vertices.max(0) + solid.vertices.min(0)) / 2, [1, 2, 3], atol=1e-5)
    a, b, c = (solid.vertices[solid.shape.f[:, n]].astype(np.float64) - [1, 2, 3] for n in range(3))
    inside = float((a * np.cross(b, c)).sum() / 6)
    assert 0.7 * volume < inside <= 1.001 * volume
