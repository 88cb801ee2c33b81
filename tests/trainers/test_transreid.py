"""TransReID as a method: what it builds, learns from and embeds; published models; any number of workers."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.datasets.loader import slice_of
from resight.trainers.config import Config, with_overrides
from resight.trainers.engines import open_engine
from resight.trainers.fit import fit
from resight.trainers.load import load_embedder
from resight.trainers.methods import METHODS
from resight.trainers.methods.method import DataShape, Models, Views
from resight.trainers.optim import make_optimizer
from resight.trainers.recipes import recipe
from tests.reference import losses as reference
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, ToyData

METHOD = METHODS["transreid"]
SHAPE = DataShape(num_classes=5, num_cameras=3, height=32, width=16)
NARROW: dict[str, Any] = {
    "augment.height": 32, "augment.width": 16, "augment.pad": 1, "model.width": 12, "model.depth": 3, "model.patch": 8,
    "model.stride": 4, "model.drop_path": 0.5, "engine.precision": "float64", "engine.device": "cpu",
    "sampler.ids_per_batch": 4,
}  # fmt: skip


def _config(**overrides: Any) -> Config:
    """A network 12 wide and 3 deep for 32x16 images: 7 x 3 tokens; dots written as two underscores."""
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return with_overrides(recipe("transreid", "tiny"), NARROW | given)


def _models(config: Config, shape: DataShape = SHAPE) -> Models:
    return METHOD.build(config, shape).double()


def _batch(labels: list[int], *, slots: range | None = None, seed: int = 0) -> Batch:
    count, generator = len(labels), torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 32, 16, generator=generator, dtype=torch.float64)
    slots = range(count) if slots is None else slots
    return Batch(
        images=images[slots.start : slots.stop], slots=slots, rows=torch.arange(count),
        labels=torch.tensor(labels), pids=torch.tensor(labels), camids=torch.arange(count) % 3,
        has_id=torch.ones(count, dtype=torch.bool), has_shape=torch.zeros(count, dtype=torch.bool),
        epoch=1, step=2, seed=7,
    )  # fmt: skip


def _losses(models: Models, batch: Batch, config: Config) -> dict[str, Tensor]:
    return METHOD.losses(models, METHOD.features(models, batch, config), batch, config, {})


def _views(count: int, camids: list[int] | None = None) -> Views:
    images = torch.randn(count, 3, 32, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return Views(images=images, camids=torch.tensor([0] * count if camids is None else camids))


def test_the_paper_has_3840_numbers_and_the_published_heads() -> None:
    config = recipe("transreid", "paper")
    bare = dataclasses.replace(config, model=dataclasses.replace(config.model, weights=None))
    shape = DataShape(num_classes=751, num_cameras=6, height=256, width=128)
    with torch.device("meta"):
        models = METHOD.build(bare, shape).eval()
        views = Views(images=torch.empty(2, 3, 256, 128), camids=torch.zeros(2, dtype=torch.int64))
        assert METHOD.embed(models, views, bare).shape == (2, 3840)
    assert models.get_parameter("cameras.table").shape == (6, 1, 768)
    for head in range(5):
        assert models.get_parameter(f"classifiers.{head}.weight").shape == (751, 768)
        assert not models.get_parameter(f"necks.{head}.bias").requires_grad


def test_first_weights() -> None:
    models = _models(_config(), dataclasses.replace(SHAPE, num_classes=3000))
    assert models.get_parameter("classifiers.4.weight").std().item() == pytest.approx(0.001, rel=0.05)
    local, last = models["local"].get_submodule("block"), models["backbone"].get_submodule("blocks.2")
    for name, value in local.state_dict().items():
        assert torch.equal(value, last.state_dict()[name])
    again, other = (METHOD.build(_config(seed=seed), SHAPE).state_dict() for seed in (0, 1))
    assert all(torch.equal(again[name], value) for name, value in METHOD.build(_config(), SHAPE).state_dict().items())
    assert not torch.equal(again["cameras.table"], other["cameras.table"])


@pytest.mark.parametrize(("branches", "sie"), [(4, "camera"), (4, "none"), (0, "camera"), (0, "none"), (2, "camera")])
def test_parts_can_be_switched_off(branches: int, sie: str) -> None:
    config = _config(method__jpm_branches=branches, method__sie=sie)
    models, batch = _models(config), _batch([0, 0, 1, 1])
    losses = _losses(models, batch, config)
    assert losses.keys() == METHOD.weights(config).keys()
    assert METHOD.embed(models.eval(), _views(2), config).shape == (2, 12 * (1 + branches))
    assert ("local" in models, "cameras" in models) == (branches > 0, sie == "camera")
    assert len(losses) == (4 if branches else 2)


@pytest.mark.parametrize(("variant", "share"), [("code", 0.5), ("slides", 1.0)])
def test_losses_equal_the_reference(variant: str, share: float) -> None:
    config = _config(method__jpm_weights=variant, method__triplet_weight=2)
    models, labels = _models(config), [0, 0, 1, 1, 2, 2, 4, 4]
    for head in range(5):
        nn.init.normal_(models.get_parameter(f"classifiers.{head}.weight"))
    batch = _batch(labels)
    features = METHOD.features(models, batch, config)
    got = METHOD.losses(models, features, batch, config, {})
    wanted: dict[str, list[float]] = {"id": [], "triplet": []}
    for head, f in enumerate(features["branches"].detach().unbind(1)):
        f = f.numpy()
        neck = (f - f.mean(0)) / np.sqrt(f.var(0) + 1e-5)
        logits = neck @ models.get_parameter(f"classifiers.{head}.weight").detach().numpy().T
        wanted["id"].append(reference.smoothed_cross_entropy(logits, np.array(labels), 0.0)[0])
        wanted["triplet"].append(reference.batch_hard_triplet(f, np.array(labels), None)[0])
    for name, each in wanted.items():
        assert got[name].item() == pytest.approx(each[0], rel=1e-9)
        assert got[f"{name}_local"].item() == pytest.approx(sum(each[1:]) / 4, rel=1e-9)
    assert METHOD.weights(config) == {
        "id": share, "triplet": 2 * share, "id_local": share, "triplet_local": 2 * share,
    }  # fmt: skip


@pytest.mark.parametrize("world", [2, 3, 5])
def test_features_of_a_slice_are_the_slice_of_the_features(world: int) -> None:
    """Drop-path at a rate of one half, and cameras, belong to the slot and not to the worker."""
    config, labels = _config(), [0, 0, 1, 1, 2, 2, 3, 3]
    models = _models(config)
    whole = METHOD.features(models, _batch(labels), config)["branches"]
    slices = [slice_of(8, rank, world) for rank in range(world)]
    parts = [METHOD.features(models, _batch(labels, slots=part), config)["branches"] for part in slices]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)
    another = METHOD.features(models, dataclasses.replace(_batch(labels), step=3), config)["branches"]
    assert not torch.allclose(another, whole)


def test_nothing_is_dropped_in_evaluation_or_at_rate_nothing() -> None:
    config, calm, batch = _config(), _config(model__drop_path=0), _batch([0, 0, 1, 1])
    models = _models(config)
    still = METHOD.features(models, batch, calm)["branches"]
    assert not torch.allclose(METHOD.features(models, batch, config)["branches"], still)
    torch.testing.assert_close(METHOD.features(models.eval(), batch, config)["branches"], still)


def test_every_trained_parameter_gets_a_gradient() -> None:
    config = _config(model__drop_path=0.1)
    models = _models(config)
    torch.stack(list(_losses(models, _batch([0, 0, 1, 1, 2, 2]), config).values())).sum().backward()
    idle = [name for name, p in models.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert idle == []


def test_features_are_float32_under_autocast() -> None:
    config, labels = _config(), [0, 0, 1, 1]
    models, batch = METHOD.build(config, SHAPE), _batch(labels).to("cpu", dtype=torch.float32)
    exact = METHOD.features(models, batch, config)["branches"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = METHOD.features(models, batch, config)
        losses = METHOD.losses(models, features, batch, config, {})
    assert features["branches"].dtype == torch.float32
    torch.testing.assert_close(features["branches"], exact, rtol=0.05, atol=0.05)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_it_learns_four_people() -> None:
    config = _config(model__drop_path=0.1, optim__lr=3e-3)
    models, batch = _models(config), _batch([0, 0, 1, 1, 2, 2, 3, 3])
    optimizer = make_optimizer(models, config.optim)
    totals: list[float] = []
    for step in range(40):
        total = torch.stack(list(_losses(models, dataclasses.replace(batch, step=step), config).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]


@pytest.mark.parametrize("neck", ["before", "after"])
def test_embedding_is_the_published_one(neck: str) -> None:
    config = _config(method__neck_feature=neck)
    models = _models(config)
    _losses(models, _batch([0, 0, 1, 1, 2, 2]), config)
    models.eval()
    views = _views(3, [0, 1, 2])
    batch = dataclasses.replace(_batch([0, 0, 1]), images=views.images)
    found = METHOD.features(models, batch, config)["branches"]
    if neck == "after":
        layers = [models["necks"].get_submodule(str(head)) for head in range(5)]
        found = torch.stack([layer(feature) for layer, feature in zip(layers, found.unbind(1), strict=True)], dim=1)
    wanted = torch.cat([found[:, 0], *(found[:, piece] / 4 for piece in range(1, 5))], dim=1)
    got = METHOD.embed(models, views, config)
    torch.testing.assert_close(got, wanted / wanted.norm(dim=1, keepdim=True))


def test_a_camera_that_was_not_trained_on_is_no_error() -> None:
    config = _config()
    for cameras in (0, 1, 3):
        models = _models(config, dataclasses.replace(SHAPE, num_cameras=cameras)).eval()
        found = METHOD.embed(models, _views(4, [0, -1, 3, 1000]), config)
        assert torch.isfinite(found).all()
        same = METHOD.embed(models, _views(4, [0, 77, -1, cameras]), config)
        torch.testing.assert_close(found, same)


def test_another_backbone_is_refused() -> None:
    config = dataclasses.replace(_config(), model=recipe("strong_baseline", "tiny").model)
    with pytest.raises(UserError, match="'vit' is needed") as caught:
        METHOD.build(config, SHAPE)
    assert caught.value.where == "model.kind"
    other = dataclasses.replace(recipe("strong_baseline", "tiny"), model=_config().model)
    with pytest.raises(UserError, match="'resnet' is needed"):
        METHODS["strong_baseline"].build(other, SHAPE)


def _published(models: Models, depth: int = 3) -> dict[str, Tensor]:
    """Return a model's weights as TransReID's code stores them, its idle last block and classifier beside them."""
    torch.manual_seed(5)
    last = f"backbone.blocks.{depth - 1}."
    found: dict[str, Tensor] = {}
    jpm = "local" in models
    for name, value in models.state_dict().items():
        value = torch.randn_like(value) if value.is_floating_point() else value
        if name.startswith("backbone."):
            found["base." + name.removeprefix("backbone.")] = value
        elif name.startswith("local."):
            found[name.replace("local.block.", "b2.0.").replace("local.norm.", "b2.1.")] = value
        elif name == "cameras.table":
            found["base.sie_embed"] = value
        else:
            group, head, rest = name.split(".")
            suffix = "" if head == "0" else f"_{head}"
            found[f"{'bottleneck' if group == 'necks' else 'classifier'}{suffix}.{rest}"] = value
        if jpm and name.startswith(last):
            found["b1.0." + name.removeprefix(last)] = torch.randn_like(value)
        if jpm and name.startswith("backbone.norm."):
            found["b1.1." + name.removeprefix("backbone.norm.")] = torch.randn_like(value)
    return found | {"base.fc.weight": torch.zeros(10, 12), "base.fc.bias": torch.zeros(10)}


def _saved(tensors: dict[str, Tensor], path: Path) -> str:
    torch.save(tensors, path)
    return str(path)


@pytest.mark.parametrize("branches", [4, 0])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_whole_published_model_loads(branches: int, prefix: str, tmp_path: Path) -> None:
    config = _config(method__jpm_branches=branches, method__published_heads="load")
    tensors = _published(METHOD.build(config, SHAPE))
    path = _saved({prefix + name: value for name, value in tensors.items()}, tmp_path / "transreid.pth")
    models = METHOD.build(with_overrides(config, {"model.weights": path}), SHAPE).state_dict()
    last = "b1.0" if branches else "base.blocks.2"
    pairs = {
        "backbone.blocks.2.attn.qkv.weight": f"{last}.attn.qkv.weight",
        "backbone.norm.weight": "b1.1.weight" if branches else "base.norm.weight",
        "backbone.blocks.1.mlp.fc1.bias": "base.blocks.1.mlp.fc1.bias",
        "backbone.pos_embed": "base.pos_embed",
        "cameras.table": "base.sie_embed",
        "necks.0.running_var": "bottleneck.running_var",
        "classifiers.0.weight": "classifier.weight",
    }
    if branches:
        pairs |= {
            "local.block.mlp.fc2.weight": "b2.0.mlp.fc2.weight",
            "local.norm.bias": "b2.1.bias",
            "necks.3.weight": "bottleneck_3.weight",
            "classifiers.4.weight": "classifier_4.weight",
        }
    for ours, theirs in pairs.items():
        assert torch.equal(models[ours], tensors[theirs]), ours


def test_heads_of_other_people_and_cameras_begin_anew_unless_they_are_asked_for(tmp_path: Path) -> None:
    config = _config()
    elsewhere = dataclasses.replace(SHAPE, num_classes=9, num_cameras=8)
    path = _saved(_published(METHOD.build(config, elsewhere)), tmp_path / "a.pth")
    there = with_overrides(config, {"model.weights": path})
    models, fresh = METHOD.build(there, SHAPE).state_dict(), METHOD.build(config, SHAPE).state_dict()
    assert torch.equal(models["cameras.table"], fresh["cameras.table"])
    assert torch.equal(models["classifiers.2.weight"], fresh["classifiers.2.weight"])
    assert not torch.equal(models["necks.2.weight"], fresh["necks.2.weight"])
    with pytest.raises(
        UserError, match=r"6 of another shape: classifiers\.0\.weight is \(9, 12\), not \(5, 12\)"
    ) as caught:
        METHOD.build(with_overrides(there, {"method.published_heads": "load"}), SHAPE)
    assert "published_heads" in caught.value.cure


def test_a_published_model_of_another_kind_is_refused_with_the_list(tmp_path: Path) -> None:
    config = _config()
    tensors = _published(METHOD.build(config, SHAPE))
    del tensors["b2.0.norm1.weight"]
    path = _saved(tensors | {"base.blocks.9.norm1.weight": torch.zeros(12)}, tmp_path / "a.pth")
    with pytest.raises(UserError) as caught:
        METHOD.build(with_overrides(config, {"model.weights": path}), SHAPE)
    assert "1 missing: local.block.norm1.weight" in caught.value.problem
    assert "1 not known: backbone.blocks.9.norm1.weight" in caught.value.problem
    with pytest.raises(UserError, match="not known: local"):
        METHOD.build(with_overrides(config, {"model.weights": path, "method.jpm_branches": 0}), SHAPE)


def test_a_published_backbone_is_what_both_last_blocks_begin_with(tmp_path: Path) -> None:
    """And its position table, of a square image, is resized."""
    config = _config()
    source = _published(METHOD.build(_config(method__jpm_branches=0), SHAPE))
    backbone = {name.removeprefix("base."): value for name, value in source.items() if name.startswith("base.")}
    del backbone["sie_embed"]
    backbone["pos_embed"] = torch.randn(1, 1 + 25, 12)
    path = _saved(backbone, tmp_path / "vit.pth")
    models = METHOD.build(with_overrides(config, {"model.weights": path}), SHAPE).state_dict()
    assert models["backbone.pos_embed"].shape == (1, 1 + 21, 12)
    for name in ("backbone.blocks.2", "local.block"):
        assert torch.equal(models[f"{name}.mlp.fc1.weight"], backbone["blocks.2.mlp.fc1.weight"])
    assert torch.equal(models["local.norm.weight"], backbone["norm.weight"])


def _toy(**overrides: Any) -> Config:
    small = {"augment.height": 16, "augment.width": 8, "model.patch": 4, "run.epochs": 2, "schedule.warmup_epochs": 0}
    return with_overrides(_config(**overrides), small)


def _run(config: Config, folder: Path, **options: Any) -> NotedContext:
    torch.set_num_threads(1)
    context = NotedContext(folder, **options)
    fit(config, ToyData(config), open_engine(config.engine, world=1), context)
    return context


def _on_rank(config: Config, folder: str) -> tuple[list[float], list[str]]:
    context = NotedContext(Path(folder), rank=dist.get_rank(), world=dist.get_world_size())
    fit(config, ToyData(config), open_engine(config.engine, world=context.world), context)
    return context.totals(), context.events[0]["without_gradient"]


def test_any_number_of_workers_computes_the_same(ranks: Ranks, tmp_path: Path) -> None:
    """16 images on 3 ranks are 6, 5 and 5; half of all residual branches are dropped."""
    config = _toy()
    alone = _run(config, tmp_path / "one").totals()
    for totals, idle in ranks.run(3, _on_rank, with_overrides(config, {"engine.kind": "ddp"}), str(tmp_path / "three")):
        assert idle == []
        np.testing.assert_allclose(totals, alone, rtol=1e-9)


def test_going_on_is_bitwise_and_the_checkpoint_knows_its_cameras(tmp_path: Path) -> None:
    config = _toy(engine__precision="float32")
    whole = _run(config, tmp_path / "whole")
    first = _run(config, tmp_path / "parts", stop_at=2)
    rest = _run(config, tmp_path / "parts", start=first.saved[-1])
    assert first.totals() + rest.totals() == whole.totals()
    embedder = load_embedder(rest.saved[-1])
    assert embedder.shape.cameras == ("toy/0", "toy/1")
    assert embedder.dim == 60
    assert len(whole.totals()) == 6
