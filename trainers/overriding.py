"""Replace values in a plain tree by dotted path: what overrides, search spaces and the command line have in common.

A path must exist already: recipes return complete configs, so a path that is not there is a typing error and never a
new setting.
"""

import copy
from collections.abc import Mapping
from typing import Any

from resight.cluster.errors import UserError, did_you_mean
from resight.trainers.schema import Tree

__all__ = ["paths_of", "replaced"]


def paths_of(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted paths of `tree`, inner nodes included, in order."""
    paths: list[str] = []
    for key, value in tree.items():
        paths.append(prefix + key)
        if isinstance(value, Mapping):
            paths += paths_of(value, f"{prefix}{key}.")
    return paths


def replaced(tree: Tree, overrides: Mapping[str, Any]) -> Tree:
    """Return a copy of `tree` with each dotted path's value replaced.

    Raises:
        UserError: for a path that does not exist, with the nearest that does; all are checked before any is set.
    """
    known = paths_of(tree)
    for path in overrides:
        if path not in known:
            raise UserError(f"there is no setting {path!r}", where=path, cure=did_you_mean(path, known))
    result = copy.deepcopy(tree)
    for path, value in overrides.items():
        *parents, last = path.split(".")
        node = result
        for parent in parents:
            node = node[parent]
        node[last] = value
    return result
