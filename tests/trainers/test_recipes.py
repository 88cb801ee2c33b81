"""Recipes are frozen as text, and 20 steps of each as numbers; what the papers fix is asserted by name."""

import dataclasses
from typing import Any, get_args

import pytest

from resight.cluster.errors import UserError
from resight.datasets.augment import AugmentConfig
from resight.trainers.config import Size, parse_yaml
from resight.trainers.methods import METHODS
from resight.trainers.methods.transreid import TransReID
from resight.trainers.models.resnet import ResNetConfig
from resight.trainers.models.vit import VitConfig
from resight.trainers.optim import lr_at
from resight.trainers.recipes import RECIPES, recipe
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid
from tests.golden import golden_configs, golden_curves
from tests.reference.schedules import STRONG_BASELINE, TRANSREID

AGAIN = "run `python -m tests.golden` and look at the difference"


def test_every_recipe_is_as_it_was() -> None:
    found = {path.name: path.read_text() for path in golden_configs.FOLDER.glob("*.yaml")}
    made = golden_configs.texts()
    assert found.keys() == made.keys(), AGAIN
    for name, text in made.items():
        assert found[name] == text, AGAIN


@pytest.mark.parametrize("name", sorted(golden_configs.texts()))
def test_every_golden_text_is_a_config(name: str) -> None:
    config = parse_yaml((golden_configs.FOLDER / name).read_text(), where=name)
    assert name == f"{config.recipe}-{config.size}.yaml"
    assert config.method.kind in METHODS
    assert config == recipe(config.recipe, config.size)


def test_training_goes_as_it_did() -> None:
    for name, text in golden_curves.texts().items():
        frozen = (golden_curves.FOLDER / name).read_text().splitlines()
        assert len(frozen) == golden_curves.STEPS
        for was, now in zip(frozen, text.splitlines(), strict=True):
            wanted = golden_curves.numbers(was)
            assert golden_curves.numbers(now) == pytest.approx(wanted, rel=1e-9, abs=0), AGAIN


def test_strong_baseline_is_the_published_one() -> None:
    config = strong_baseline("paper")
    assert (config.augment.height, config.augment.width, config.augment.pad, config.augment.erase) == (
        256,
        128,
        10,
        0.5,
    )
    assert (config.sampler.ids_per_batch, config.sampler.images_per_id) == (16, 4)
    assert isinstance(config.model, ResNetConfig)
    assert (config.model.depth, config.model.last_stride, config.model.ibn) == (50, 1, "none")
    assert (config.method.identity.smoothing, config.method.triplet.margin) == (0.1, 0.3)
    assert (config.optim.kind, config.optim.lr, config.optim.weight_decay) == ("adam", 3.5e-4, 5e-4)
    assert (config.optim.bias_lr_scale, config.optim.undecayed, config.run.epochs) == (1.0, "none", 120)
    for epoch, wanted in STRONG_BASELINE.items():
        assert lr_at(config.schedule, config.optim, epoch - 1) == pytest.approx(wanted, rel=1e-6)


def test_transreid_is_the_published_one() -> None:
    config = transreid("paper")
    assert config.augment == AugmentConfig(
        height=256, width=128, flip=0.5, pad=10, interpolation="cubic", mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5), erase=0.5, erase_area=(0.02, 1 / 3), erase_tries=10, erase_fill="noise",
    )  # fmt: skip
    assert (config.sampler.ids_per_batch, config.sampler.images_per_id) == (16, 4)
    assert isinstance(config.model, VitConfig)
    assert (config.model.width, config.model.depth, config.model.heads, config.model.mlp_ratio) == (768, 12, 12, 4)
    assert (config.model.patch, config.model.stride, config.model.drop_path) == (16, 16, 0.1)
    assert (config.method.identity.smoothing, config.method.triplet.margin) == (0.0, None)
    assert isinstance(config.method, TransReID)
    assert (config.method.jpm_branches, config.method.jpm_shift, config.method.jpm_groups) == (4, 5, 2)
    assert (config.method.sie, config.method.sie_factor, config.method.neck_feature) == ("camera", 3.0, "before")
    assert (config.optim.kind, config.optim.lr, config.optim.momentum) == ("sgd", 0.008, 0.9)
    assert (config.optim.weight_decay, config.optim.bias_lr_scale, config.run.epochs) == (1e-4, 2.0, 120)
    for epoch, wanted in TRANSREID.items():
        assert lr_at(config.schedule, config.optim, epoch - 1) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 12, 24, 60, 121])
def test_the_schedule_shrinks_with_the_number_of_epochs(epochs: int) -> None:
    config = strong_baseline("tiny", epochs=epochs)
    assert config.run.epochs == config.schedule.period_epochs == epochs
    first, second = config.schedule.milestones
    assert config.schedule.warmup_epochs <= first < second


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_docstring_says_what_to_expect(name: str) -> None:
    text = RECIPES[name].__doc__ or ""
    for word in ("Expected", "Cost", f"Command: resight train {name}"):
        assert word in text


@pytest.mark.parametrize("name", sorted(RECIPES))
@pytest.mark.parametrize("size", get_args(Size))
def test_recipes_say_their_name_and_size(name: str, size: Any) -> None:
    config = recipe(name, size)
    assert (config.recipe, config.size) == (name, size)
    assert dataclasses.replace(config) == config


def test_a_misspelt_recipe_is_answered_with_the_right_one() -> None:
    with pytest.raises(UserError, match="did you mean 'strong_baseline'"):
        recipe("strong_basline")
