"""Range checks for the configuration's own numbers, in the words of the user: the dotted field, its value, the range.

Called from `__post_init__`, so that a config that exists is a config that can run, whether it came from a recipe, a
YAML file, the command line or a search space.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from resight.cluster.errors import UserError

__all__ = ["above", "at_least", "increasing", "of_kind", "require", "within"]

T = TypeVar("T")


def require(held: bool, problem: str, *, where: str, cure: str = "") -> None:
    """Raise `UserError` unless `held`."""
    if not held:
        raise UserError(problem, where=where, cure=cure)


def at_least(field: str, value: float, low: float) -> None:
    """Hold `value` >= `low`; not-a-number fails too."""
    require(value >= low, f"{field} is {value}", where=field, cure=f"use {low} or more")


def above(field: str, value: float, low: float) -> None:
    """Hold `value` > `low`; not-a-number fails too."""
    require(value > low, f"{field} is {value}", where=field, cure=f"use a value above {low}")


def within(field: str, value: float, low: float, high: float) -> None:
    """Hold `low` <= `value` <= `high`; not-a-number fails too."""
    require(low <= value <= high, f"{field} is {value}", where=field, cure=f"use a value between {low} and {high}")


def of_kind(field: str, value: object, kind: type[T]) -> T:
    """Return the settings `value` of a field that has several kinds, held to be of the one kind that serves here."""
    if not isinstance(value, kind):
        found, needed = (getattr(settings, "kind", None) for settings in (value, kind))
        raise UserError(
            f"{field}.kind is {found!r}: {needed!r} is needed here", where=f"{field}.kind", cure=f"use {needed!r}"
        )
    return value


def increasing(field: str, values: Sequence[float]) -> None:
    """Hold that each value is larger than the one before."""
    ordered = all(a < b for a, b in pairwise(values))
    require(ordered, f"{field} is {tuple(values)}", where=field, cure="make each entry larger than the one before")
