"""Where a network looks: one number for each place of an image, 0 or more, large where the feature comes from.

    vision transformer   mean over heads of the class token's attention in the last block          (b, rows, columns)
    convolutions         Euclidean length of the last map's vector at each place                   (b, h, w)

The first is what the class token gathers in the only block that reads it, exactly; rollout over all blocks (Abnar and
Zuidema 2020, arXiv:2005.00928) must guess how much of a token its shortcut keeps. The second is what the mean over
places adds up. Both have a zero that means nothing is taken from there, so a map is divided by its largest value and
not stretched: an even map stays even.

Source: Caron et al. 2021 (DINO, arXiv:2104.14294, figure 1) for the last block's attention; Zagoruyko and Komodakis
2017 (arXiv:1612.03928, eq. 3 with p = 2) for the map, here with its square root. Trade-off: both say where, not why.
"""

from typing import Final

from jaxtyping import Float
from torch import Tensor

from resight.trainers.models.vit import Block, ViT

__all__ = ["CLASS_ATTENTION", "FEATURE_NORM", "class_attention", "feature_norm", "relative"]

CLASS_ATTENTION: Final = (
    "Brightness is the attention that the class token pays to each patch in the last block, a mean over heads, as a "
    "share of the picture's largest (Caron et al. 2021)."
)
FEATURE_NORM: Final = (
    "Brightness is the length of the last feature map's vector at each place, whose mean is the feature compared, as a "
    "share of the picture's largest (after Zagoruyko and Komodakis 2017)."
)


def class_attention(
    backbone: ViT, images: Float[Tensor, "b 3 height width"], *, shift: Float[Tensor, "b 1 d"] | None = None
) -> Float[Tensor, "b rows columns"]:
    """Return the share of each patch in what the class token gathers in the last block, a mean over heads.

    Args:
        backbone: in evaluation mode.
        images: normalised.
        shift: added to every token of an image.
    """
    _, tokens = backbone(images, shift=shift)
    last = backbone.blocks[-1]
    assert isinstance(last, Block), "all blocks are of one kind"
    shares = last.attn.first_weights(last.norm1(tokens)).mean(dim=1)  # (b, 1 + N)
    return shares[:, 1:].unflatten(1, backbone.grid)


def feature_norm(last: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """Return the Euclidean length over channels of a feature map."""
    return last.norm(dim=1)


def relative(maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Return maps over their largest value, in [0, 1]; a map of zeros stays one."""
    most = maps.amax(dim=(1, 2), keepdim=True)
    return maps / most.masked_fill(most == 0, 1)
