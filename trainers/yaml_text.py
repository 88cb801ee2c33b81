"""YAML in and out, safely: plain values only, and a key that stands twice is an error.

PyYAML takes the last of two equal keys in silence; in a config that is how an edit gets lost.
"""

from typing import Any

import yaml

from resight.cluster.errors import UserError
from resight.trainers.schema import Tree

__all__ = ["read_yaml", "write_yaml"]


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build one mapping, keys checked."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str, *, where: str = "") -> Tree:
    """Return the mapping in a YAML text; `where` names its file in errors."""
    try:
        tree = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader with one more check
    except yaml.YAMLError as error:
        raise UserError(f"this is not readable YAML: {error}", where=where, cure="mend the file") from error
    if not isinstance(tree, dict):
        raise UserError("a config must be a mapping of fields", where=where, cure="start from a run's config.yaml")
    return tree


def write_yaml(tree: Tree) -> str:
    """Return the YAML text of a plain tree, keys in the given order, short lists on one line."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that escapes Unicode's line ends; PyYAML writes them as they are and reads them back as blanks."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Quote a text so that it comes back equal."""
        style = '"' if any(end in data for end in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
