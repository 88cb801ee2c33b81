"""Outfits: nothing of the clothes comes back in another outfit of a person; imitators wear what a neighbour wears."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resight.rendering.outfits import RIVALS, Garment, colour_distance, outfit, twin

CROWD = range(200_000, 200_300)


def _garments(seed: int, pid: int, number: int) -> tuple[Garment, Garment, Garment]:
    worn = outfit(seed, pid, number, 3)
    return worn.upper, worn.lower, worn.shoes


@given(seed=st.integers(0, 10_000), pid=st.integers(100_000, 300_000))
def test_an_outfit_is_a_pure_function_whatever_was_drawn_before(seed: int, pid: int) -> None:
    later = outfit(seed, pid, 2, 3)
    outfit.cache_clear()
    outfit(seed, pid, 1, 3)
    again = outfit(seed, pid, 2, 3)
    for one, other in ((later.upper, again.upper), (later.lower, again.lower), (later.shoes, again.shoes)):
        np.testing.assert_array_equal(one.colour, other.colour)
        assert (one.pattern, one.scale, one.length) == (other.pattern, other.scale, other.length)


def test_outfits_of_one_person_share_no_colour() -> None:
    for pid in CROWD:
        worn = [_garments(0, pid, number) for number in range(3)]
        for first in range(3):
            for second in range(first):
                for garment, other in zip(worn[first], worn[second], strict=True):
                    assert colour_distance(garment.colour, other.colour) > 0.2


def test_imitators_wear_nearly_what_their_neighbour_wears_next() -> None:
    imitators = [pid for pid in CROWD if twin(0, pid, 3) is not None]
    assert abs(len(imitators) / len(CROWD) - RIVALS / 2) < 0.1
    for pid in imitators:
        assert twin(0, pid, 3) == pid - 1
        for garment, model in zip(_garments(0, pid, 0), _garments(0, pid - 1, 1), strict=True):
            assert colour_distance(garment.colour, model.colour) < 0.12
            assert garment.pattern == model.pattern


def test_with_one_outfit_the_imitated_one_is_that_one() -> None:
    pid = next(pid for pid in range(100_001, 100_100) if twin(0, pid, 1) is not None)
    assert colour_distance(outfit(0, pid, 0, 1).upper.colour, outfit(0, pid - 1, 0, 1).upper.colour) < 0.12


def test_clothes_are_drawn_widely() -> None:
    uppers = [outfit(0, pid, 0, 3).upper for pid in CROWD]
    assert {garment.pattern for garment in uppers} == {"plain", "stripes", "checks", "dots", "noise", "logo", "plaid"}
    assert np.std([garment.colour for garment in uppers], axis=0).min() > 0.2
    assert min(garment.length for garment in uppers) < 0.2 < 1.6 < max(garment.length for garment in uppers)
