"""Outfits: nothing of the clothes comes back in another outfit of a person; imitators wear what a neighbour wears."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.rendering.outfits import (
    CIRCLE,
    IMITATORS,
    WARDROBE,
    Garment,
    colour_distance,
    outfit,
    shared_outfits,
    twin,
)

CROWD = range(200_000, 200_300)


def _garments(seed: int, pid: int, number: int) -> tuple[Garment, Garment, Garment]:
    worn = outfit(seed, pid, number, 3)
    return worn.upper, worn.lower, worn.shoes


@given(seed=st.integers(0, 10_000), pid=st.integers(100_000, 300_000))
@settings(deadline=None)
def test_an_outfit_is_a_pure_function_whatever_was_drawn_before(seed: int, pid: int) -> None:
    later = outfit(seed, pid, 2, 3)
    outfit.cache_clear()
    outfit(seed, pid, 1, 3)
    again = outfit(seed, pid, 2, 3)
    for one, other in ((later.upper, again.upper), (later.lower, again.lower), (later.shoes, again.shoes)):
        np.testing.assert_array_equal(one.colour, other.colour)
        assert (one.pattern, one.scale, one.length) == (other.pattern, other.scale, other.length)


def test_outfits_of_one_person_share_no_colour() -> None:
    apart = [
        min(
            colour_distance(garment.colour, other.colour)
            for garment, other in zip(_garments(0, pid, first)[:2], _garments(0, pid, second)[:2], strict=True)
        )
        for pid in CROWD
        for first, second in ((0, 1), (0, 2), (1, 2))
    ]
    assert min(apart) > 0.2


def test_people_who_change_share_a_wardrobe() -> None:
    """Every outfit is worn by many people, so that clothes do not tell who somebody is."""
    wearers = np.zeros(WARDROBE, int)
    for pid in CROWD:
        numbers = shared_outfits(0, pid, 3)
        assert len(set(numbers)) == 3
        wearers[list(numbers)] += 1
    assert wearers.min() >= 5
    one, other = [pid for pid in CROWD if 7 in shared_outfits(0, pid, 3)][:2]
    worn = [outfit(0, pid, shared_outfits(0, pid, 3).index(7), 3).upper for pid in (one, other)]
    assert 0 < colour_distance(worn[0].colour, worn[1].colour) < 0.15
    assert worn[0].pattern == worn[1].pattern


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_any_wardrobe_dresses_anybody(seed: int) -> None:
    assert all(len(set(shared_outfits(seed, pid, 3))) == 3 for pid in range(200_000, 200_020))


def test_with_one_outfit_imitators_wear_nearly_what_the_first_of_their_circle_wears() -> None:
    imitators = [pid for pid in CROWD if twin(0, pid) is not None]
    assert abs(len(imitators) / len(CROWD) - IMITATORS * (1 - 1 / CIRCLE)) < 0.1
    for pid in imitators:
        own, copied = outfit(0, pid, 0, 1), outfit(0, pid - pid % CIRCLE, 0, 1)
        for garment, model in ((own.upper, copied.upper), (own.lower, copied.lower), (own.shoes, copied.shoes)):
            assert colour_distance(garment.colour, model.colour) < 0.12
            assert garment.pattern == model.pattern


def test_clothes_are_drawn_widely() -> None:
    uppers = [outfit(0, pid, 0, 1).upper for pid in CROWD]
    assert {garment.pattern for garment in uppers} == {"plain", "stripes", "checks", "dots", "noise", "logo", "plaid"}
    assert np.std([garment.colour for garment in uppers], axis=0).min() > 0.2
    assert min(garment.length for garment in uppers) < 0.2 < 1.6 < max(garment.length for garment in uppers)
