"""Published vision transformers under our names, which are timm's.

    timm, DeiT     blocks.0.attn.qkv.weight, pos_embed, ...          as they are; heads and distillation token dropped
    torchvision    encoder.layers.encoder_layer_0.self_attention.in_proj_weight, class_token, ...
    wrapped        module., model., backbone., base.                 stripped

The position table is resized to the network's grid. Every key is accounted for: what is missing or left over is an
error with the list.

Source of the names: timm (`vit_base_patch16_224`, `deit_base_distilled_patch16_224`), torchvision (`vit_b_16`; before
0.12 the perceptron's layers were `linear_1` and `linear_2`), TransReID's code (timm's of 2020).
"""

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from resight.cluster.errors import UserError
from resight.trainers.models.position import resize_positions
from resight.trainers.models.vit import ViT
from resight.trainers.models.weights import fill

__all__ = ["VIT_CURE", "load_vit", "vit_names"]

VIT_CURE: Final = "set model.width, model.depth, model.heads, model.mlp_ratio and model.patch to those of the weights"

_WRAPPERS: Final = ("module.", "model.", "backbone.", "base.")
_HEADS: Final = ("head.", "head_dist.", "heads.", "dist_token", "pre_logits.", "fc.")
_LAYER: Final = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.")
_TORCHVISION: Final = {
    "class_token": "cls_token",
    "conv_proj.": "patch_embed.proj.",
    "encoder.pos_embedding": "pos_embed",
    "encoder.ln.": "norm.",
    "ln_1.": "norm1.",
    "ln_2.": "norm2.",
    "self_attention.in_proj_": "attn.qkv.",
    "self_attention.out_proj.": "attn.proj.",
    "mlp.linear_1.": "mlp.fc1.",
    "mlp.linear_2.": "mlp.fc2.",
    "mlp.0.": "mlp.fc1.",
    "mlp.3.": "mlp.fc2.",
}


def load_vit(backbone: ViT, tensors: Mapping[str, Tensor], source: str, *, ratio: int) -> None:
    """Fill `backbone` with the published weights of a vision transformer.

    Args:
        backbone: a network of the same width, depth and patch; its grid may be another.
        tensors: names and values as published.
        source: where they are from, for messages.
        ratio: height over width of the images that they were trained on.

    Raises:
        UserError: with the list of what is missing, not known or of another shape.
    """
    named = vit_names(tensors)
    if "pos_embed" in named:
        named["pos_embed"] = resize_positions(named["pos_embed"], backbone.grid, ratio=ratio)
    fill(backbone, named, source, cure=VIT_CURE)


def vit_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone's tensors under our names, heads dropped.

    Raises:
        UserError: when two of them have the same name without their prefixes.
    """
    named: dict[str, Tensor] = {}
    for full, tensor in tensors.items():
        name = _ours(_bare(full))
        if name in named:
            raise UserError(f"two weights are named {name!r}", where=full, cure="give a file that holds one network")
        named[name] = tensor
    return {name: tensor for name, tensor in named.items() if not name.startswith(_HEADS)}


def _bare(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _ours(name: str) -> str:
    """Return timm's name for torchvision's; others as they are."""
    layer = _LAYER.match(name)
    prefix, inner = (f"blocks.{layer[1]}.", name[layer.end() :]) if layer else ("", name)
    for theirs, ours in _TORCHVISION.items():
        if inner.startswith(theirs):
            return prefix + ours + inner.removeprefix(theirs)
    return prefix + inner
