"""The order of a stream: every sample once an epoch, a window of shards at a time, from any step, for any workers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.datasets.slices import slice_of
from resight.datasets.stream_plan import StreamPlan

SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(sum)
NUMBERS = {
    "sizes": SIZES,
    "batch_size": st.integers(1, 40),
    "window": st.integers(0, 14),
    "seed": st.integers(0, 2**40),
    "epoch": st.integers(0, 1000),
}


def plan_of(sizes: list[int], *, batch_size: int = 8, window: int = 3, seed: int = 0) -> StreamPlan:
    ends = np.cumsum([0, *sizes])
    shards = [np.arange(begin, end) for begin, end in pairwise(ends.tolist())]
    return StreamPlan(shards, batch_size=batch_size, window=window, seed=seed)


@settings(max_examples=150, deadline=None)
@given(**NUMBERS)
def test_no_sample_is_lost_and_none_comes_twice(
    sizes: list[int], batch_size: int, window: int, seed: int, epoch: int
) -> None:
    plan = plan_of(sizes, batch_size=batch_size, window=window, seed=seed)
    batches = list(plan.batches(epoch, 0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(sum(sizes)))
    assert len(batches) == plan.steps_per_epoch == -(-sum(sizes) // batch_size)


@settings(max_examples=100, deadline=None)
@given(**NUMBERS)
def test_batches_share_the_epoch_evenly_and_none_is_over_the_size(
    sizes: list[int], batch_size: int, window: int, seed: int, epoch: int
) -> None:
    plan = plan_of(sizes, batch_size=batch_size, window=window, seed=seed)
    lengths = [len(batch) for batch in plan.batches(epoch, 0)]
    assert max(lengths) <= batch_size
    assert min(lengths) == plan.smallest
    assert max(lengths) - min(lengths) <= 1
    assert [plan.places(step).stop for step in range(len(lengths))] == np.cumsum(lengths).tolist()


@settings(max_examples=100, deadline=None)
@given(**NUMBERS, start=st.integers(0, 400))
def test_any_step_can_be_gone_on_from(
    sizes: list[int], batch_size: int, window: int, seed: int, epoch: int, start: int
) -> None:
    plan = plan_of(sizes, batch_size=batch_size, window=window, seed=seed)
    whole = [batch.tolist() for batch in plan.batches(epoch, 0)]
    again = plan_of(sizes, batch_size=batch_size, window=window, seed=seed)
    assert [batch.tolist() for batch in again.batches(epoch, start)] == whole[start:]
    step = start % plan.steps_per_epoch
    assert again.batch(epoch, step).tolist() == whole[step]


@settings(max_examples=100, deadline=None)
@given(**NUMBERS, world=st.integers(1, 8))
def test_workers_slices_are_the_batch(
    sizes: list[int], batch_size: int, window: int, seed: int, epoch: int, world: int
) -> None:
    plan = plan_of(sizes, batch_size=batch_size, window=window, seed=seed)
    for batch in plan.batches(epoch, 0):
        slices = [slice_of(len(batch), rank, world) for rank in range(world)]
        assert [row for part in slices for row in batch[part.start : part.stop]] == batch.tolist()


@settings(max_examples=100, deadline=None)
@given(**NUMBERS)
def test_each_shard_is_read_within_one_window(
    sizes: list[int], batch_size: int, window: int, seed: int, epoch: int
) -> None:
    plan = plan_of(sizes, batch_size=batch_size, window=window, seed=seed)
    shard = np.repeat(np.arange(len(sizes)), sizes)[np.concatenate(list(plan.batches(epoch, 0)))]
    spans = [np.flatnonzero(shard == name)[[0, -1]].tolist() for name in np.unique(shard)]
    held = [sum(first <= at <= last for first, last in spans) for at in range(len(shard))]
    assert max(held) <= max(window, 1)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    plan, other = plan_of([40] * 6, window=2), plan_of([40] * 6, window=2, seed=1)
    orders = [np.concatenate(list(p.batches(e, 0))).tolist() for p, e in ((plan, 0), (plan, 1), (other, 0))]
    assert len({tuple(order) for order in orders}) == 3
    assert len({order[0] // 40 for order in orders} | {orders[0][-1] // 40}) > 1  # shards are permuted too


def test_without_a_window_the_order_is_that_of_the_files() -> None:
    plan = plan_of([5, 0, 7, 3], window=0, seed=9)
    for epoch in (0, 3):
        assert np.concatenate(list(plan.batches(epoch, 0))).tolist() == list(range(15))


def test_a_window_mixes_its_shards() -> None:
    """In a block of four shards of 100, a batch of 40 has about ten of each."""
    plan = plan_of([100] * 8, batch_size=40, window=4)
    counts = np.array([np.bincount(batch // 100, minlength=8) for batch in plan.batches(0, 0)])
    assert ((counts > 0).sum(axis=1) == 4).all()
    assert counts.max() < 25


def test_a_stream_is_the_same_next_year() -> None:
    """Literal values: a change here breaks the resume of every run that exists."""
    plan = plan_of([3, 4, 2, 5], batch_size=5, window=2, seed=11)
    assert [batch.tolist() for batch in plan.batches(2, 0)] == GOLDEN


GOLDEN = [[9, 4, 13, 10, 6], [11, 5, 12, 3, 2], [8, 0, 1, 7]]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"sizes": [0, 0]}, "nothing to read"),
        ({"sizes": [3], "batch_size": 0}, "batch_size is 0"),
        ({"sizes": [3], "window": -1}, "window is -1"),
        ({"sizes": [3], "seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_streamed_is_refused_with_a_cure(options: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        plan_of(**options)  # type: ignore[arg-type]
    assert caught.value.cure
