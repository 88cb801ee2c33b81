"""Chance in closed form against every order there is, and intervals against what they promise."""

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.trainers.retrieval.bootstrap import difference_interval, mean_interval
from resight.trainers.retrieval.chance import chance_metrics
from resight.trainers.retrieval.metrics import evaluate_distances
from tests.reference import retrieval as reference


@pytest.mark.parametrize(("positives", "ranked"), [(1, 1), (1, 2), (2, 2), (1, 9), (3, 8), (5, 11), (4, 4)])
def test_chance_is_the_mean_over_every_order(positives: int, ranked: int) -> None:
    gallery_pids = [1] * positives + [2] * (ranked - positives)
    metrics = evaluate_distances(np.zeros((1, ranked)), [1], gallery_pids, [0], [1] * ranked, max_rank=12)
    ap, inp, cmc = reference.chance(positives, ranked, range(1, 13))
    chance = chance_metrics(metrics)
    np.testing.assert_allclose([chance.mAP, chance.mINP], [ap, inp], rtol=1e-12)
    np.testing.assert_allclose(chance.cmc, cmc, rtol=0, atol=1e-12)


def test_chance_follows_each_query_and_skips_what_was_skipped() -> None:
    distances = np.zeros((3, 4))
    metrics = evaluate_distances(distances, [1, 2, 9], [1, 2, 2, -1], [0, 0, 0], [1, 1, 0, 1])
    chance = chance_metrics(metrics)
    wanted = [reference.chance(1, 3, [1])[0], reference.chance(1, 2, [1])[0]]
    np.testing.assert_allclose(chance.ap[:2], wanted, rtol=1e-12)
    assert np.isnan(chance.ap[2])
    assert np.isnan(chance.inp[2])
    assert chance.skipped == metrics.skipped
    assert chance.mAP == pytest.approx(np.mean(wanted))


def test_chance_agrees_with_random_features() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300), rng.integers(0, 5, 80), rng.integers(0, 3, 300), rng.integers(0, 3, 80)
    metrics = evaluate_distances(rng.random((300, 80)), *labels)
    chance = chance_metrics(metrics)
    assert metrics.mAP == pytest.approx(chance.mAP, abs=0.01)
    assert metrics.mINP == pytest.approx(chance.mINP, abs=0.01)
    assert metrics.rank_k(5) == pytest.approx(chance.rank_k(5), abs=0.06)


def scores(num_ids: int, per_id: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(num_ids) * 7, per_id)
    return np.repeat(rng.random(num_ids), per_id) + 0.01 * rng.random(num_ids * per_id), pids


def test_interval_is_as_wide_as_identities_vary_not_queries() -> None:
    values, pids = scores(100, 5)
    found = mean_interval(values, pids)
    error = values.reshape(100, 5).mean(axis=1).std() / 10
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert found == mean_interval(values, pids)
    assert found != mean_interval(values, pids, seed=1)


def test_interval_weighs_identities_by_their_queries_and_leaves_out_skipped_ones() -> None:
    values, pids = scores(40, 3)
    values[::4] = np.nan
    found = mean_interval(values, pids, resamples=500)
    assert found.mean == pytest.approx(np.nanmean(values))
    assert found.low < found.mean < found.high
    with pytest.raises(UserError, match="no scored query"):
        mean_interval(np.full(3, np.nan), np.arange(3))


def test_one_identity_has_no_width() -> None:
    found = mean_interval(np.array([0.2, 0.4]), np.array([3, 3]))
    assert found.low == found.high == pytest.approx(found.mean)


def test_difference_is_paired() -> None:
    values, pids = scores(50, 4)
    found = difference_interval(values, values - 0.05, pids)
    assert found.mean == pytest.approx(0.05)
    assert found.high - found.low < 1e-12
    noisy = difference_interval(values, np.random.default_rng(3).permutation(values), pids)
    assert noisy.low < 0 < noisy.high
