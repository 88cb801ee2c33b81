"""Dressing: garments end where they are cut, hair and caps cover heads, colours become linear."""

from dataclasses import replace

import numpy as np
import pytest

from resight.rendering.appearance import KINDS
from resight.rendering.dressing import HAIR_CUTS, dressed, linear
from resight.rendering.outfits import outfit
from resight.rendering.parts import PART_ID
from resight.rendering.people import person

WHO, WORN = person(0, 100_000), outfit(0, 100_000, 0, 1)


def _kind(appearance: object, name: str, which: str) -> float:
    row = getattr(appearance, which)[PART_ID[name]]
    return float(appearance.materials[row, 0])  # pyright: ignore[reportAttributeAccessIssue]


def test_colours_become_linear() -> None:
    assert linear(np.array([0.0, 1.0, 0.5], np.float32)) == pytest.approx((0.0, 1.0, 0.21404), abs=1e-4)


def test_sleeves_and_legs_end_where_the_garment_does() -> None:
    worn = replace(WORN, upper=replace(WORN.upper, length=0.5), lower=replace(WORN.lower, length=1.5))
    appearance = dressed(WHO, worn)
    assert appearance.cut[PART_ID["left_upper_arm"]] == pytest.approx(0.2)
    assert appearance.cut[PART_ID["right_shin"]] == pytest.approx(0.75)
    skin = appearance.materials[appearance.lower[PART_ID["left_upper_arm"]]]
    assert tuple(skin[1:4]) == pytest.approx(linear(WHO.skin))
    assert appearance.upper[PART_ID["left_thigh"]] == appearance.upper[PART_ID["right_shin"]]


@pytest.mark.parametrize("style", HAIR_CUTS)
def test_hair_has_its_length(style: str) -> None:
    who = replace(WHO, hair_style=style)
    appearance = dressed(who, replace(WORN, hat=None))
    assert appearance.cut[PART_ID["hair"]] == pytest.approx(HAIR_CUTS[style][0])  # pyright: ignore[reportArgumentType]
    assert _kind(appearance, "hair", "lower") == KINDS["hidden"]


def test_a_cap_leaves_only_long_hair_to_be_seen() -> None:
    cap = replace(WORN, hat=WORN.upper)
    long, short = dressed(replace(WHO, hair_style="long"), cap), dressed(replace(WHO, hair_style="short"), cap)
    assert _kind(long, "hair", "lower") == KINDS["plain"]
    assert _kind(short, "hair", "lower") == KINDS["hidden"]


def test_beards_have_the_hair_s_colour() -> None:
    appearance = dressed(replace(WHO, beard=True), WORN)
    beard = appearance.materials[appearance.lower[PART_ID["head"]]]
    assert tuple(beard[1:4]) == pytest.approx(linear(WHO.hair))
