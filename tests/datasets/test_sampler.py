"""The identity sampler's promises, over many seeds, epochs and sizes."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.datasets import picking
from resight.datasets.sampler import Plan, SamplerConfig, SourceRows, make_plan


def rows(seed: int, *, ids: int, most: int, cameras: int = 3, weight: float = 1.0, unknown: int = 0) -> SourceRows:
    """`ids` identities with 1 to `most` images each, in random order, and `unknown` rows without identity."""
    rng = np.random.default_rng(seed)
    pid = np.concatenate([np.repeat(100 + 3 * np.arange(ids), rng.integers(1, most + 1, ids)), np.full(unknown, -1)])
    pid = rng.permutation(pid)
    return SourceRows(
        weight=weight,
        pid=pid,
        camid=rng.integers(0, cameras, len(pid)),
        outfit=rng.integers(0, 2, len(pid)),
        name=f"made-{seed}",
    )


def plan_of(
    *sources: SourceRows, p: int = 4, k: int = 3, seed: int = 0, steps: int | None = None, **more: object
) -> Plan:
    config = SamplerConfig(ids_per_batch=p, images_per_id=k, steps_per_epoch=steps, **more)  # type: ignore[arg-type]
    return make_plan(sources, config, seed=seed)


SIZES = {
    "seed": st.integers(0, 2**40),
    "epoch": st.integers(0, 10_000),
    "ids": st.integers(1, 40),
    "most": st.integers(1, 9),
    "k": st.integers(1, 6),
    "p": st.integers(1, 12),
}


@settings(max_examples=150, deadline=None)
@given(**SIZES, unknown=st.integers(0, 5), steps=st.none() | st.integers(1, 30))
def test_every_batch_is_p_different_identities_of_k_images(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int, unknown: int, steps: int | None
) -> None:
    source = rows(seed, ids=ids, most=most, unknown=unknown)
    plan = plan_of(source, p=min(p, ids), k=k, seed=seed, steps=steps)
    batches = plan.epoch(epoch)
    assert batches.shape == (plan.steps_per_epoch, min(p, ids) * k)
    labels = plan.labels[batches].reshape(len(batches), -1, k)
    assert (labels >= 0).all()
    assert (labels == labels[:, :, :1]).all()
    assert all(len(set(batch)) == min(p, ids) for batch in labels[:, :, 0])
    images = np.bincount(source.pid[source.pid >= 0])
    for draw, label in zip(batches.reshape(-1, k), labels[:, :, 0].reshape(-1), strict=True):
        there = images[100 + 3 * label]
        assert len(set(draw)) == min(k, there)


@settings(max_examples=100, deadline=None)
@given(**SIZES)
def test_every_identity_appears_in_every_epoch_and_hardly_any_twice(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int
) -> None:
    plan = plan_of(rows(seed, ids=ids, most=most), p=min(p, ids), k=k, seed=seed)
    appearances = np.bincount(plan.labels[plan.epoch(epoch)[:, ::k]].reshape(-1), minlength=ids)
    assert plan.steps_per_epoch == -(-ids // min(p, ids))
    assert appearances.min() == 1
    assert appearances.max() <= 2


@settings(max_examples=100, deadline=None)
@given(**SIZES, steps=st.integers(1, 12), lap=st.integers(0, 50))
def test_short_epochs_starve_nobody(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int, steps: int, lap: int
) -> None:
    plan = plan_of(rows(seed, ids=ids, most=most), p=min(p, ids), k=k, seed=seed, steps=steps)
    epochs = -(-ids // (steps * min(p, ids)))
    seen = np.concatenate([plan.epoch(lap * epochs + i) for i in range(epochs)])
    appearances = np.bincount(plan.labels[seen[:, ::k]].reshape(-1), minlength=ids)
    assert appearances.min() >= 1
    assert appearances.max() - appearances.min() <= 1


@settings(max_examples=100, deadline=None)
@given(**SIZES, steps=st.integers(1, 40))
def test_no_image_is_repeated_before_all_of_its_identity_were_used(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int, steps: int
) -> None:
    source = rows(seed, ids=ids, most=most)
    plan = plan_of(source, p=min(p, ids), k=k, seed=seed, steps=steps)
    used: Counter[int] = Counter()
    mates = {label: np.flatnonzero(plan.labels == label) for label in range(ids)}
    for row in plan.epoch(epoch).reshape(-1).tolist():
        used[row] += 1
        of_all = [used[mate] for mate in mates[int(plan.labels[row])].tolist()]
        assert max(of_all) - min(of_all) <= 1


@settings(max_examples=100, deadline=None)
@given(**SIZES, steps=st.integers(1, 20))
def test_identities_with_few_images_repeat_each_about_as_often(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int, steps: int
) -> None:
    """With n < K images a draw has each K / n times, rounded down or up."""
    source = rows(seed, ids=ids, most=most)
    plan = plan_of(source, p=min(p, ids), k=k, seed=seed, steps=steps)
    images = np.bincount(plan.labels, minlength=ids)
    for draw in plan.epoch(epoch).reshape(-1, k):
        n = int(images[plan.labels[draw[0]]])
        times = Counter(draw.tolist())
        assert len(times) == min(n, k)
        assert set(times.values()) <= {k // n, -(-k // n)} | ({1} if n >= k else set())


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
    few=st.integers(4, 6),
    many=st.integers(10, 40),
    weight=st.floats(0.2, 3.0),
)
def test_a_small_source_of_large_weight_comes_round_evenly(
    seed: int, epoch: int, few: int, many: int, weight: float
) -> None:
    """Every identity of every source every epoch, and within a source none more than once more than another."""
    sources = [rows(seed, ids=few, most=5, weight=weight), rows(seed + 1, ids=many, most=5)]
    config = SamplerConfig(ids_per_batch=4, images_per_id=2)
    plan = make_plan(sources, config, seed=seed)
    classes = plan.labels[plan.epoch(epoch)[:, ::2]]
    times = np.bincount(classes.reshape(-1), minlength=few + many)
    for part in (times[:few], times[few:]):
        assert part.min() >= 1
        assert part.max() - part.min() <= 1
    assert all(len(set(batch)) == 4 for batch in classes.tolist())


@settings(max_examples=60, deadline=None)
@given(
    **SIZES,
    cameras=st.integers(1, 5),
    steps=st.integers(1, 10),
    fields=st.sampled_from([("camid",), ("camid", "outfit")]),
)
def test_each_image_is_the_least_used_of_the_rarest_camera(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int, cameras: int, steps: int, fields: tuple[str, ...]
) -> None:
    """The rule, spelled out: least often in the draw, in the epoch, then by camera and outfit in the draw."""
    source = rows(seed, ids=ids, most=most, cameras=cameras)
    plan = plan_of(source, p=min(p, ids), k=k, seed=seed, steps=steps, spread=fields)
    used: Counter[int] = Counter()
    for draw in plan.epoch(epoch).reshape(-1, k).tolist():
        mates = np.flatnonzero(plan.labels == plan.labels[draw[0]]).tolist()
        for n, row in enumerate(draw):
            earlier = draw[:n]

            def cost(image: int, earlier: list[int] = earlier) -> tuple[int, ...]:
                alike = [sum(getattr(source, f)[e] == getattr(source, f)[image] for e in earlier) for f in fields]
                return (earlier.count(image), used[image], *alike)

            assert cost(row) == min(map(cost, mates))
            used[row] += 1


@settings(max_examples=60, deadline=None)
@given(**SIZES, cameras=st.integers(1, 5))
def test_the_first_draw_of_an_epoch_has_as_many_cameras_as_it_can(
    seed: int, epoch: int, ids: int, most: int, k: int, p: int, cameras: int
) -> None:
    source = rows(seed, ids=ids, most=most, cameras=cameras)
    plan = plan_of(source, p=min(p, ids), k=k, seed=seed)
    met: set[int] = set()
    for draw in plan.epoch(epoch).reshape(-1, k):
        label = int(plan.labels[draw[0]])
        if label not in met:
            there = len(set(source.camid[plan.labels == label].tolist()))
            assert len(set(source.camid[draw].tolist())) == min(k, there)
        met.add(label)


def test_unknown_cameras_count_as_one() -> None:
    camid = np.array([-1, -1, -1, 4])
    source = SourceRows(weight=1, pid=np.zeros(4, np.int64), camid=camid, outfit=camid)
    draws = [plan_of(source, p=1, k=2, seed=seed).epoch(0)[0] for seed in range(20)]
    assert all(3 in draw for draw in draws)


def test_images_of_a_draw_come_from_different_cameras_and_outfits() -> None:
    grid = np.array([(camid, outfit) for camid in range(4) for outfit in range(3) for _ in range(2)])
    source = SourceRows(
        weight=1, pid=np.repeat(np.arange(8), 24), camid=np.tile(grid[:, 0], 8), outfit=np.tile(grid[:, 1], 8)
    )
    for spread, least in ((("camid",), 1), (("camid", "outfit"), 3)):
        draws = plan_of(source, p=8, k=4, spread=spread, steps=5).epoch(3).reshape(-1, 4)
        assert all(len(set(source.camid[draw])) == 4 for draw in draws)
        assert all(len(set(source.outfit[draw])) >= least for draw in draws)
    draws = plan_of(source, p=8, k=4, spread=(), steps=5).epoch(3).reshape(-1, 4)
    assert min(len(set(source.camid[draw])) for draw in draws) < 4


def test_a_plan_is_a_function_of_seed_and_epoch_only() -> None:
    source = rows(1, ids=30, most=8)
    plan, again = plan_of(source, seed=5), plan_of(source, seed=5)
    later = plan.epoch(7)
    assert (again.epoch(7) == later).all()
    plan.epoch(0)
    assert (plan.epoch(7) == later).all()
    assert not (plan.epoch(8) == later).all()
    assert not (plan_of(source, seed=6).epoch(7) == later).all()


def test_a_plan_is_the_same_next_year() -> None:
    """Literal values: a change here breaks the resume of every run that exists."""
    pid = np.repeat(np.arange(6), 3)
    source = SourceRows(weight=1, pid=pid, camid=np.tile(np.arange(3), 6), outfit=pid)
    assert plan_of(source, p=3, k=2, seed=11).epoch(2).tolist() == GOLDEN


GOLDEN = [[13, 12, 3, 5, 17, 15], [7, 6, 2, 0, 10, 11]]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
    sizes=st.lists(st.tuples(st.integers(8, 30), st.floats(0.2, 5.0)), min_size=2, max_size=4),
    steps=st.none() | st.integers(20, 60),
)
def test_sources_mix_by_weight(seed: int, epoch: int, sizes: list[tuple[int, float]], steps: int | None) -> None:
    sources = [rows(seed + i, ids=ids, most=4, weight=weight) for i, (ids, weight) in enumerate(sizes)]
    plan = plan_of(*sources, p=8, k=2, seed=seed, steps=steps)
    source_of = np.repeat(np.arange(len(sources)), [len(source.pid) for source in sources])
    drawn = source_of[plan.epoch(epoch)[:, ::2]]
    total = sum(weight for _, weight in sizes)
    for number, (ids, weight) in enumerate(sizes):
        share = weight / total
        assert abs((drawn == number).sum() - share * drawn.size) < 1  # largest remainder
        running = np.cumsum((drawn == number).sum(axis=1))
        assert np.abs(running - share * 8 * np.arange(1, len(drawn) + 1)).max() < len(sizes) + 1
        if steps is None:
            assert len(np.unique(plan.labels[plan.epoch(epoch)[source_of[plan.epoch(epoch)] == number]])) == ids
    assert plan.num_classes == sum(ids for ids, _ in sizes)


def test_labels_are_disjoint_over_sources_and_follow_the_sorted_identities() -> None:
    first = SourceRows(weight=1, pid=np.array([7, -1, 3, 7]), camid=np.zeros(4, int), outfit=np.zeros(4, int))
    second = replace(first, pid=np.array([3, 3, 9]), camid=np.zeros(3, int), outfit=np.zeros(3, int))
    plan = plan_of(first, second, p=2, k=1)
    assert plan.labels.tolist() == [1, -1, 0, 1, 2, 2, 3]
    assert plan.num_classes == 4


def test_planning_is_fast() -> None:
    """1,000 batches of 16 x 4 over 100,000 rows: under half a second of one processor."""
    rng = np.random.default_rng(0)
    pid = rng.integers(0, 8_000, 100_000)
    source = SourceRows(weight=1, pid=pid, camid=rng.integers(0, 6, len(pid)), outfit=pid)
    plan = plan_of(source, p=16, k=4, steps=1_000)
    plan.epoch(0)
    times: list[float] = []
    for epoch in range(1, 4):
        start = time.process_time()
        assert plan.epoch(epoch).shape == (1_000, 64)
        times.append(time.process_time() - start)
    assert min(times) < 0.25


@pytest.mark.parametrize(
    ("sources", "options", "problem"),
    [
        ([rows(0, ids=3, most=2)], {"p": 4}, "a batch needs 4 different identities and there are 3"),
        ([rows(0, ids=3, most=2, weight=0)], {"p": 2}, "weight 0"),
        ([rows(0, ids=9, most=2), rows(1, ids=9, most=2, weight=1e-6)], {"steps": 1}, "no identity would be drawn"),
        ([], {}, "nothing to train on"),
        ([rows(0, ids=9, most=2)], {"seed": -1}, "the seed is -1"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_a_cure(
    sources: list[SourceRows], options: dict[str, int], problem: str
) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        plan_of(*sources, **options)  # type: ignore[arg-type]
    assert caught.value.cure


def test_a_batch_shape_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="images_per_id is 0"):
        SamplerConfig(images_per_id=0)


def test_the_kernel_is_plain_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    args = (np.array([0, 1, 0]), np.array([0, 2, 7]), np.array([[0, 0, 1, 1, 2, 2, 2]]), 3)
    compiled = picking.pick_images(*args)
    monkeypatch.setattr(picking, "_best", picking._best.py_func)  # pyright: ignore[reportPrivateUsage]
    assert (picking.pick_images.py_func(*args) == compiled).all()
