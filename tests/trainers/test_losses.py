"""Each loss and its gradient against the slow float64 reference, and what holds for any batch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from resight.cluster.errors import UserError
from resight.trainers.losses.identity import IdentityConfig, identity_loss
from resight.trainers.losses.pairwise import euclidean
from resight.trainers.losses.triplet import TripletConfig, hardest, triplet_loss
from tests.reference import losses as reference

BATCHES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 9), st.integers(2, 6))


def _batch(seed: int, rows: int, dim: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Random features and labels; some rows are unlabelled, and some identities stand alone."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (rows, dim)), rng.integers(-1, classes, rows)


def _value_and_gradient(loss: Callable[[Tensor], Tensor], at: np.ndarray) -> tuple[float, np.ndarray]:
    x = torch.from_numpy(at).requires_grad_()
    value = loss(x)
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.numpy()


def _equal(got: tuple[float, np.ndarray], wanted: tuple[float, np.ndarray]) -> None:
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-10, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(BATCHES, st.sampled_from([0.0, 0.1, 0.5]))
def test_identity_loss_and_gradient_equal_the_reference(case: tuple[int, int, int, int], smoothing: float) -> None:
    seed, rows, _, classes = case
    logits, labels = _batch(seed, rows, classes, classes)
    config = IdentityConfig(smoothing=smoothing)
    got = _value_and_gradient(lambda z: identity_loss(z, torch.from_numpy(labels), config), logits)
    _equal(got, reference.smoothed_cross_entropy(logits, labels, smoothing))


def test_identity_loss_is_torchs_own_smoothing() -> None:
    logits, labels = _batch(0, 20, 7, 7)
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    wanted = F.cross_entropy(z, y, ignore_index=-1, label_smoothing=0.1)
    torch.testing.assert_close(identity_loss(z, y, IdentityConfig()), wanted, rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(BATCHES, st.sampled_from([None, 0.0, 0.3, 5.0]))
def test_triplet_loss_and_gradient_equal_the_reference(case: tuple[int, int, int, int], margin: float | None) -> None:
    seed, rows, dim, classes = case
    features, labels = _batch(seed, rows, dim, classes)
    config = TripletConfig(margin=margin)
    got = _value_and_gradient(lambda f: triplet_loss(f, torch.from_numpy(labels), config), features)
    _equal(got, reference.batch_hard_triplet(features, labels, margin))


@pytest.mark.parametrize("margin", [None, 0.3])
def test_unlabelled_rows_do_not_matter(margin: float | None) -> None:
    features, labels = _batch(3, 20, 5, 4)
    kept = labels >= 0
    assert 0 < kept.sum() < len(kept)
    config = TripletConfig(margin=margin)
    whole = triplet_loss(torch.from_numpy(features), torch.from_numpy(labels), config)
    part = triplet_loss(torch.from_numpy(features[kept]), torch.from_numpy(labels[kept]), config)
    torch.testing.assert_close(whole, part, rtol=1e-12, atol=0)


def test_nothing_labelled_gives_zero_and_no_gradient() -> None:
    features, labels = torch.randn(6, 3, dtype=torch.float64, requires_grad=True), torch.full((6,), -1)
    total = identity_loss(features, labels, IdentityConfig()) + triplet_loss(features, labels, TripletConfig())
    total.backward()
    assert total.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_one_identity_alone_has_no_triplets() -> None:
    features = torch.randn(5, 3, requires_grad=True)
    loss = triplet_loss(features, torch.zeros(5, dtype=torch.int64), TripletConfig(margin=None))
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_near_duplicates_lose_no_digits() -> None:
    """The matrix product alone would: its error is that of the squared norms."""
    base = torch.full((4, 8), 30.0, dtype=torch.float64)
    base[:, 0] += torch.tensor([0.0, 1e-4, 3e-4, 7e-4], dtype=torch.float64)
    labels, features = torch.tensor([0, 0, 1, 1]), base.numpy()
    got = _value_and_gradient(lambda f: triplet_loss(f, labels, TripletConfig()), features)
    _equal(got, reference.batch_hard_triplet(features, labels.numpy(), 0.3))


def test_identical_images_give_finite_gradients() -> None:
    features = torch.ones(8, 4, requires_grad=True)
    triplet_loss(features, torch.arange(4).repeat_interleave(2), TripletConfig()).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_weights_of_zero_and_one_choose_the_anchors() -> None:
    features, labels = (torch.from_numpy(part) for part in _batch(11, 16, 4, 3))
    labels = labels.clamp(min=0)
    chosen = torch.arange(16) % 3 == 0
    positive, negative, _ = hardest(euclidean(features, features), labels)
    gap = (features - features[positive]).norm(dim=1) - (features - features[negative]).norm(dim=1)
    each = F.relu(gap + 0.3)
    got = triplet_loss(features, labels, TripletConfig(), weights=chosen.double())
    torch.testing.assert_close(got, each[chosen].mean(), rtol=1e-12, atol=0)
    halves = identity_loss(features, labels, IdentityConfig(), weights=torch.full((16,), 0.5))
    torch.testing.assert_close(halves, identity_loss(features, labels, IdentityConfig()), rtol=1e-12, atol=0)


def test_order_of_rows_does_not_matter() -> None:
    features, labels = (torch.from_numpy(part) for part in _batch(5, 24, 6, 5))
    turned = torch.from_numpy(np.random.default_rng(0).permutation(24))
    a = triplet_loss(features, labels, TripletConfig())
    b = triplet_loss(features[turned], labels[turned], TripletConfig())
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_distances_are_euclidean_and_stay_float32_under_autocast() -> None:
    x, y = torch.randn(7, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(euclidean(x, y), torch.cdist(x, y), rtol=1e-9, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances = euclidean(x.bfloat16(), y.bfloat16())
        exact = torch.cdist(x.bfloat16().double(), y.bfloat16().double()).float()
    assert distances.dtype == torch.float32
    torch.testing.assert_close(distances, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: IdentityConfig(smoothing=1.5), "method.identity.smoothing"),
        (lambda: TripletConfig(margin=-1), "method.triplet.margin"),
    ],
)
def test_impossible_settings_are_refused_by_name(make: Callable[[], object], where: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.where == where
