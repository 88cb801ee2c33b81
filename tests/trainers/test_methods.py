"""The strong baseline as a method: what it builds, learns from, and embeds."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from resight.datasets.batch import Batch
from resight.trainers.config import Config, with_overrides
from resight.trainers.methods import METHODS, method_of
from resight.trainers.methods.method import DataShape, Models, Views, labels_of
from resight.trainers.optim import make_optimizer
from resight.trainers.recipes import recipe
from tests.reference import losses as reference

SMALL = with_overrides(recipe("strong_baseline", "tiny"), {"model.width": 4, "augment.height": 64, "augment.width": 32})
SHAPE = DataShape(num_classes=5, num_cameras=3, height=64, width=32)
METHOD = METHODS["strong_baseline"]


def _batch(labels: list[int], *, seed: int = 0) -> Batch:
    count = len(labels)
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.randn(count, 3, 64, 32, generator=generator), slots=range(count), rows=torch.arange(count),
        labels=torch.tensor(labels), pids=torch.tensor(labels), camids=torch.zeros(count, dtype=torch.int64),
        has_id=torch.ones(count, dtype=torch.bool), has_shape=torch.zeros(count, dtype=torch.bool),
        epoch=0, step=0, seed=0,
    )  # fmt: skip


def _losses(models: Models, batch: Batch, config: Config = SMALL) -> dict[str, Any]:
    return METHOD.losses(models, METHOD.features(models, batch, config), batch, config, {})


def test_it_builds_the_same_models_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = METHOD.build(SMALL, SHAPE).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    second = METHOD.build(SMALL, SHAPE).state_dict()
    other = METHOD.build(dataclasses.replace(SMALL, seed=1), SHAPE).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_heads_are_the_published_ones() -> None:
    models = METHOD.build(SMALL, dataclasses.replace(SHAPE, num_classes=2000))
    names = [name for name, _ in models["classifier"].named_parameters()]
    weight = models.get_parameter("classifier.weight")
    assert names == ["weight"]
    assert weight.shape == (2000, 32)
    assert weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert not models.get_parameter("neck.bias").requires_grad
    assert models.get_parameter("neck.weight").requires_grad
    trained = [name for group in make_optimizer(models, SMALL.optim).param_groups for name in group["param_names"]]
    assert "neck.bias" not in trained


def test_losses_equal_the_reference_on_either_side_of_the_neck() -> None:
    models = METHOD.build(SMALL, SHAPE).double()
    torch.nn.init.normal_(models.get_parameter("classifier.weight"))
    labels = [0, 0, 1, 1, 2, 2, 4, 4]
    batch = _batch(labels).to("cpu", dtype=torch.float64)
    features = METHOD.features(models, batch, SMALL)
    assert features["global"].shape == (8, 32)
    f = features["global"].detach().numpy()
    neck = (f - f.mean(0)) / np.sqrt(f.var(0) + 1e-5)
    logits = neck @ models.get_parameter("classifier.weight").detach().numpy().T
    got = METHOD.losses(models, features, batch, SMALL, {})
    wanted = reference.smoothed_cross_entropy(logits, np.array(labels), 0.1)[0]
    assert got["id"].item() == pytest.approx(wanted, rel=1e-10)
    assert got["triplet"].item() == pytest.approx(reference.batch_hard_triplet(f, np.array(labels), 0.3)[0], rel=1e-9)


def test_losses_and_weights_have_the_same_names() -> None:
    models = METHOD.build(SMALL, SHAPE)
    assert _losses(models, _batch([0, 0, 1, 1])).keys() == METHOD.weights(SMALL).keys()
    halved = with_overrides(SMALL, {"method.triplet_weight": 0.5})
    assert METHOD.weights(halved) == {"id": 1.0, "triplet": 0.5}


def test_rows_without_identity_take_no_part_in_the_losses() -> None:
    batch = _batch([0, 0, 1, 1, 2, 3])
    without = dataclasses.replace(batch, has_id=torch.tensor([True] * 4 + [False] * 2))
    assert labels_of(without).tolist() == [0, 0, 1, 1, -1, -1]
    other = dataclasses.replace(without, labels=torch.tensor([0, 0, 1, 1, 4, 0]))
    models = METHOD.build(SMALL, SHAPE)
    a, b = _losses(models, without), _losses(models, other)
    assert {name: loss.item() for name, loss in a.items()} == {name: loss.item() for name, loss in b.items()}


def test_every_trained_parameter_gets_a_gradient() -> None:
    models = METHOD.build(SMALL, SHAPE)
    sum(_losses(models, _batch([0, 0, 1, 1])).values()).backward()  # pyright: ignore[reportAttributeAccessIssue]
    idle = [name for name, p in models.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert idle == []


def test_it_learns_four_people() -> None:
    torch.manual_seed(0)
    models = METHOD.build(SMALL, SHAPE)
    optimizer = make_optimizer(models, with_overrides(SMALL, {"optim.lr": 3e-3}).optim)
    batch = _batch([0, 0, 1, 1, 2, 2, 3, 3])
    totals: list[float] = []
    losses = _losses(models, batch)
    for _ in range(40):
        losses = _losses(models, batch)
        total = losses["id"] + losses["triplet"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]
    assert losses["triplet"].item() < 0.05


def test_embedding_is_the_normalised_feature_after_the_neck() -> None:
    models = METHOD.build(SMALL, SHAPE)
    _losses(models, _batch([0, 0, 1, 1]))
    models.eval()
    images = _batch([0] * 3, seed=4).images
    with torch.no_grad():
        got = METHOD.embed(models, Views(images=images, camids=torch.full((3,), -1)), SMALL)
        after = models["neck"](models["backbone"](images).mean((2, 3)))
    torch.testing.assert_close(got, after / after.norm(dim=1, keepdim=True))
    torch.testing.assert_close(got.norm(dim=1), torch.ones(3))


def test_features_are_summed_in_float32_under_autocast() -> None:
    models = METHOD.build(SMALL, SHAPE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        batch = _batch([0, 0, 1, 1])
        features = METHOD.features(models, batch, SMALL)
        losses = METHOD.losses(models, features, batch, SMALL, {})
    assert features["global"].dtype == torch.float32
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_a_config_names_its_method() -> None:
    assert method_of(SMALL) is METHOD
    assert METHOD.initial_state(METHOD.build(SMALL, SHAPE), SMALL, SHAPE) == {}
