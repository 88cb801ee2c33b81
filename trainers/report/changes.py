"""What differs: a run from its recipe, runs from each other, the machines they ran on.

Fields that say where and how fast a run goes, never what it computes, are marked, so that a reader may skip them. What
was trained on is no change of a recipe, since no recipe names data; it is told apart.

Source: design of this project.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resight.trainers.config import Config, diff, to_dict
from resight.trainers.recipes import RECIPES, recipe

__all__ = ["Difference", "from_recipe", "of_environments", "of_runs"]

_DATA = "data.sources"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field that is not the same everywhere.

    Attributes:
        path: dotted.
        values: one a column; empty text where a config has no such field, e.g. `model.heads` of a residual network.
        placement: whether it says only where and how fast.
    """

    path: str
    values: tuple[Any, ...]
    placement: bool = False


def from_recipe(config: Config) -> list[Difference] | None:
    """Return (recipe's value, run's value) of each field that was changed; None when no recipe has that name now."""
    if config.recipe not in RECIPES:
        return None
    published = recipe(config.recipe, config.size)
    return [each for each in of_runs([published, config]) if each.path != _DATA]


def of_runs(configs: Sequence[Config]) -> list[Difference]:
    """Return each field that is not equal in all of `configs`, with its value in each."""
    first, trees = configs[0], [to_dict(config) for config in configs]
    pairs = [diff(first, other) for other in configs[1:]]
    deciding = {path for other in configs[1:] for path in diff(first, other, placement=False)}
    found: list[Difference] = []
    for path in dict.fromkeys(path for pair in pairs for path in pair):
        values = tuple(_value(tree, path.split(".")) for tree in trees)
        found.append(Difference(path=path, values=values, placement=path not in deciding))
    return found


def of_environments(environments: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return each fact that differs; nested ones by dotted name. The command line is left out, it always differs."""
    flat = [dict(_flat(environment)) for environment in environments]
    names = dict.fromkeys(name for facts in flat for name in facts if name != "command")
    found = [Difference(path=name, values=tuple(facts.get(name) for facts in flat)) for name in names]
    return [each for each in found if any(value != each.values[0] for value in each.values)]


def _value(tree: Any, names: Sequence[str]) -> Any:
    for name in names:
        tree = tree.get(name, "") if isinstance(tree, dict) else ""
    return tree


def _flat(facts: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in facts.items():
        rows += _flat(value, f"{path}{name}.") if isinstance(value, dict) else [(f"{path}{name}", value)]
    return rows
