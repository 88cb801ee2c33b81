"""People: drawn from seed and number alone, visibly different, within the limits the docstrings state."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resight.rendering.people import HAIR_STYLES, MAX_BETA, SIBLINGS, person, sibling

SEEDS = st.integers(0, 2**31)
PIDS = st.integers(100_000, 400_000)


@given(seed=SEEDS, pid=PIDS)
def test_a_person_is_a_pure_function_within_its_limits(seed: int, pid: int) -> None:
    first = person(seed, pid)
    person.cache_clear()
    again = person(seed, pid)
    assert first is not again
    for name in ("betas", "skin", "hair"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (first.hair_style, first.gait) == (again.hair_style, again.gait)
    assert np.abs(first.betas).max() <= MAX_BETA
    assert all(0 <= value <= 1 for colour in (first.skin, first.hair) for value in colour)
    assert 0.9 <= first.gait.speed <= 1.7


def test_skin_hair_and_shape_are_spread_widely() -> None:
    crowd = [person(0, pid) for pid in range(100_000, 100_400)]
    assert np.std([one.betas for one in crowd], axis=0).min() > 0.85
    assert np.std([one.skin.mean() for one in crowd]) > 0.12
    assert np.std([one.hair.mean() for one in crowd]) > 0.12
    assert {one.hair_style for one in crowd} == set(HAIR_STYLES)


def test_siblings_share_skin_and_hair_and_nothing_else() -> None:
    pairs = [(person(0, pid), sibling(0, pid, 99_999)) for pid in range(100_000, 100_400)]
    same = [alike for _, alike in pairs if np.array_equal(alike.skin, person(0, 99_999).skin)]
    assert abs(len(same) / len(pairs) - SIBLINGS) < 0.1
    assert all(np.array_equal(alike.hair, person(0, 99_999).hair) for alike in same)
    for own, alike in pairs:
        np.testing.assert_array_equal(own.betas, alike.betas)
        assert (own.gait, own.beard) == (alike.gait, alike.beard)


def test_seeds_give_other_people() -> None:
    assert not np.array_equal(person(0, 100_000).betas, person(1, 100_000).betas)
    assert not np.array_equal(person(0, 100_000).betas, person(0, 200_000).betas)


def test_colours_cannot_be_changed_by_accident() -> None:
    assert not person(0, 100_000).skin.flags.writeable
