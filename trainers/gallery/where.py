"""Simple filters on the images of an index: "camid=3", "camid=1,2", "dataset!=market". All that are given must hold.

Source: design of this project. Trade-off: no "or" between fields; search twice.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool

from resight.cluster.errors import UserError, did_you_mean
from resight.trainers.gallery.segments import OpenSegment

__all__ = ["Filter", "everything", "parse_filters"]

_FIELDS: Final = ("camid", "dataset", "pid")
_WHERE: Final = "--where"

Filter = Callable[[OpenSegment], Bool[np.ndarray, " n"]]
"""Tells which images of a segment may be found."""


def everything(opened: OpenSegment) -> Bool[np.ndarray, " n"]:
    """Allow every image."""
    return np.ones(len(opened.key), bool)


def parse_filters(texts: Sequence[str]) -> Filter:
    """Return the filter that some texts stand for; UserError for one that cannot be read."""
    rules = [_rule(text) for text in texts]

    def allowed(opened: OpenSegment) -> Bool[np.ndarray, " n"]:
        found = everything(opened)
        for rule in rules:
            found &= rule(opened)
        return found

    return allowed


def _rule(text: str) -> Filter:
    name, mark, values = text.partition("=")
    wanted = not name.endswith("!")
    name = name.removesuffix("!").strip()
    parts = [value.strip() for value in values.split(",")]
    if not mark or not all(parts):
        raise UserError(f"{text!r} is no filter", where=_WHERE, cure="write camid=3, camid=1,2 or dataset!=NAME")
    if name not in _FIELDS:
        raise UserError(f"there is no field {name!r} in {text!r}", where=_WHERE, cure=did_you_mean(name, _FIELDS))
    if name == "dataset":
        return lambda opened: np.full(len(opened.key), (opened.segment.dataset in parts) == wanted)
    numbers = [_number(value, text) for value in parts]
    return lambda opened: np.isin(opened.pid if name == "pid" else opened.camid, numbers) == wanted


def _number(value: str, text: str) -> int:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise UserError(f"{value!r} in {text!r} is no whole number", where=_WHERE, cure="write camid=3 or pid=7,8")
    return int(value)
