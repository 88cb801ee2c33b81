"""The hash split: stable, independent of the rest of the data, about the wanted share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.datasets.holdout import held_out


@settings(max_examples=60, deadline=None)
@given(
    pids=st.lists(st.integers(-1, 2**50), min_size=1, max_size=60),
    others=st.lists(st.integers(0, 2**50), max_size=30),
    share=st.floats(0, 0.99),
    seed=st.integers(0, 2**60),
)
def test_an_identity_is_on_the_same_side_whatever_else_is_there(
    pids: list[int], others: list[int], share: float, seed: int
) -> None:
    alone = held_out(np.array(pids), share, seed)
    mixed = held_out(np.array(others + pids[::-1]), share, seed)[len(others) :][::-1]
    assert (alone == mixed).all()
    assert not alone[np.array(pids) < 0].any()


def test_a_larger_share_holds_out_more_and_never_others() -> None:
    pids = np.arange(2000)
    small, large = held_out(pids, 0.1, 3), held_out(pids, 0.3, 3)
    assert not (small & ~large).any()
    assert abs(small.mean() - 0.1) < 0.03
    assert abs(large.mean() - 0.3) < 0.04
    assert not (held_out(pids, 0.3, 4) == large).all()


def test_nothing_is_held_out_of_nothing() -> None:
    assert held_out(np.empty(0, np.int64), 0.5, 0).shape == (0,)
    assert not held_out(np.arange(100), 0.0, 0).any()


def test_the_split_is_the_same_next_year() -> None:
    assert np.flatnonzero(held_out(np.arange(40), 0.2, 0)).tolist() == GOLDEN


GOLDEN = [2, 4, 6, 13, 19, 21, 25, 26, 33]


def test_a_share_of_everything_is_refused() -> None:
    with pytest.raises(UserError, match=r"val_ids is 1\.0"):
        held_out(np.arange(3), 1.0, 0)
