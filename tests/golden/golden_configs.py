"""The texts of all recipes: what `tests/golden/configs` freezes."""

from pathlib import Path
from typing import get_args

from resight.trainers.config import Size, dump_yaml
from resight.trainers.recipes import RECIPES, recipe

FOLDER = Path(__file__).parent / "configs"


def texts() -> dict[str, str]:
    """Return {file name: the recipe's YAML} for every recipe and size."""
    return {f"{name}-{size}.yaml": dump_yaml(recipe(name, size)) for name in RECIPES for size in get_args(Size)}
