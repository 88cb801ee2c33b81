"""Whole models as TransReID's code publishes them, under the names of our `transreid` method.

    base.*                    backbone.*          but its last block and norm, which that code never runs beside JPM
    b1.0.*, b1.1.*            backbone's last block, backbone.norm.*
    b2.0.*, b2.1.*            local.block.*, local.norm.*
    base.sie_embed            cameras.table
    bottleneck[_i].*          necks.i.*           i = 0 the global feature, 1 to 4 the pieces
    classifier[_i].weight     classifiers.i.weight
    base.fc.*                 dropped: ImageNet's classifier

Without `b1` the model is the one without JPM, and `base.*` is the backbone whole. Source of the names: TransReID's
published code and checkpoints (github damo-cv/TransReID, model/make_model.py); TransReID-SSL's are alike.
"""

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from resight.trainers.models.position import resize_positions
from resight.trainers.models.vit_weights import VIT_CURE
from resight.trainers.models.weights import fill

__all__ = ["is_transreid", "load_transreid", "transreid_names"]

_OF_THE_DATA: Final = ("classifiers.", "cameras.")  # they belong to the people and cameras a model was trained on
_TABLE: Final = "backbone.pos_embed"
_CURE: Final = f"{VIT_CURE}; method.jpm_branches and method.sie too; or method.published_heads to fresh"
_HEAD: Final = re.compile(r"(bottleneck|classifier)(?:_(\d+))?\.(.+)")
_PLURAL: Final = {"bottleneck": "necks", "classifier": "classifiers"}


def is_transreid(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether these are a whole model of TransReID's code and not a backbone alone."""
    return any(_bare(name).startswith(("b1.", "bottleneck.")) for name in tensors)


def load_transreid(
    models: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    depth: int,
    grid: tuple[int, int],
    ratio: int,
    fresh_heads: bool,
) -> None:
    """Fill all networks of our method with a whole published model.

    Args:
        models: of the `transreid` method.
        tensors: names and values as published.
        source: where they are from, for messages.
        depth: number of blocks.
        grid: (rows, columns) of patches in `models`.
        ratio: rows over columns of the published position table, where its size is not that of `grid`.
        fresh_heads: leave classifiers and cameras as they are, since they are other people's and other cameras'.

    Raises:
        UserError: with the list of what is missing, not known or of another shape.
    """
    named = transreid_names(tensors, depth=depth)
    if fresh_heads:
        own = {name: value for name, value in models.state_dict().items() if name.startswith(_OF_THE_DATA)}
        named = {name: value for name, value in named.items() if not name.startswith(_OF_THE_DATA)} | own
    if _TABLE in named:
        named[_TABLE] = resize_positions(named[_TABLE], grid, ratio=ratio)
    fill(models, named, source, cure=_CURE)


def transreid_names(tensors: Mapping[str, Tensor], *, depth: int) -> dict[str, Tensor]:
    """Return the tensors of a whole model under our names; names that are not known stay as they are.

    Args:
        tensors: as published.
        depth: number of blocks.
    """
    bare = {_bare(name): tensor for name, tensor in tensors.items()}
    with_branches = any(name.startswith("b1.") for name in bare)
    idle = ("base.fc.", *((f"base.blocks.{depth - 1}.", "base.norm.") if with_branches else ()))
    return {_ours(name, depth): tensor for name, tensor in bare.items() if not name.startswith(idle)}


def _bare(name: str) -> str:
    return name.removeprefix("module.")


def _ours(name: str, depth: int) -> str:
    if head := _HEAD.fullmatch(name):
        return f"{_PLURAL[head[1]]}.{head[2] or 0}.{head[3]}"
    renamed = {
        "base.sie_embed": "cameras.table",
        "b1.0.": f"backbone.blocks.{depth - 1}.",
        "b1.1.": "backbone.norm.",
        "b2.0.": "local.block.",
        "b2.1.": "local.norm.",
        "base.": "backbone.",
    }
    for theirs, ours in renamed.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
