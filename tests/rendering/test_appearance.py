"""Dressing: tables that say for each part what was asked, and errors that name what is missing."""

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.rendering.appearance import KINDS, WHOLE, Wear, bare, dress, material
from resight.rendering.parts import NUM_PARTS, PART_ID, PARTS


def test_rows_hold_what_was_asked() -> None:
    row = material(
        "dots", (0.1, 0.2, 0.3), second=(0.4, 0.5, 0.6), scale=7.0, angle=0.5, duty=0.25, roughness=0.9, seed=11
    )
    assert row.dtype == np.float32
    expected = [KINDS["dots"], 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 7.0, 0.5, 0.25, 0.9, 11]
    np.testing.assert_allclose(row[:12], expected, rtol=1e-6)


def test_dress_lays_out_parts_and_shares_equal_materials() -> None:
    wear = bare()
    shirt = material("plain", (1.0, 0.0, 0.0))
    wear["torso"] = Wear(upper=shirt, lower=wear["neck"].upper, cut=0.5, inflation=0.02, flare=0.01)
    wear["hips"] = Wear(upper=material("plain", (1.0, 0.0, 0.0)), inflation=0.03)
    worn = dress(wear)
    torso, hips = PART_ID["torso"], PART_ID["hips"]
    np.testing.assert_array_equal(worn.materials[worn.upper[torso]], shirt)
    assert worn.upper[torso] == worn.upper[hips]
    assert worn.lower[torso] == worn.upper[PART_ID["neck"]]
    assert worn.cut[torso] == 0.5
    assert worn.cut[hips] == WHOLE
    np.testing.assert_allclose(worn.inflation[[torso, hips]], [[0.02, 0.0], [0.03, 0.03]])
    np.testing.assert_allclose(worn.flare[torso], 0.01)
    assert len(worn.materials) == 5  # skin, face, hair, hidden, shirt
    assert len(worn.cut) == NUM_PARTS + 1


def test_bare_covers_every_part() -> None:
    assert set(bare()) == set(PARTS)
    assert dress(bare(hair_length=0.3)).cut[PART_ID["hair"]] == np.float32(0.3)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="no material kind 'stripe'"):
        material("stripe", (0.0, 0.0, 0.0))
    with pytest.raises(UserError, match="no body part 'torsoo'"):
        dress({**bare(), "torsoo": bare()["neck"]})
    with pytest.raises(UserError, match="nothing covers torso"):
        dress({name: worn for name, worn in bare().items() if name != "torso"})
