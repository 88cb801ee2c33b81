"""Recipes: functions that return a complete config. The docstring of each says what it reproduces and its cost."""

from collections.abc import Callable
from typing import Final

from resight.cluster.errors import UserError, did_you_mean
from resight.trainers.config import Config, Size
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid

__all__ = ["RECIPES", "recipe"]

RECIPES: Final[dict[str, Callable[[Size], Config]]] = {
    "strong_baseline": strong_baseline,
    "transreid": transreid,
}
"""Every recipe by name."""


def recipe(name: str, size: Size = "paper") -> Config:
    """Return the config of a recipe; `UserError` with the nearest name where there is none."""
    if name not in RECIPES:
        raise UserError(f"there is no recipe {name!r}", where="recipe", cure=did_you_mean(name, RECIPES))
    return RECIPES[name](size)
