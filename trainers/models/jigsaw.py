"""Jigsaw patch module (JPM): groups of patches from all over the image, each with a feature of its own.

    patches 1 .. N (0 is the class token), rolled by shift - 1:   s, s + 1, .., N, 1, .., s - 1
    cut into `groups` equal runs, interleaved:                    first of each run, second of each run, ..
    cut into `branches` pieces of N // branches, what is left over unused
    feature of a piece = norm(block(class token, piece))[class token], one block and norm for all pieces

Each piece so holds patches from everywhere, and must tell people apart without the rest.
Two readings exist of what happens when N does not part into the runs. The published code appends the last but one token
of the rolled list ("code"); the authors' slides draw the remainder left out ("slides").

Source: He et al. 2021 (TransReID, arXiv:2102.04378, section 3.2 and eq. 2) and its published code, `shuffle_unit`,
whose roll is by shift - 1. The block and norm start as copies of the backbone's last ones.
"""

import copy
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resight.cluster.errors import UserError
from resight.trainers.models.vit import Block, ViT

__all__ = ["Jigsaw", "Shuffle", "pieces", "shuffled"]

Shuffle = Literal["code", "slides"]


def shuffled(patches: int, *, shift: int, groups: int, variant: Shuffle) -> list[int]:
    """Return the patches, numbered from 1, in shuffled order.

    Args:
        patches: how many there are, N.
        shift: the patch that comes first.
        groups: runs that are interleaved.
        variant: what happens to a remainder of N / groups; see above.

    Raises:
        UserError: when there are too few patches, or "code" cannot part them.
    """
    rolled = [*range(shift, patches + 1), *range(1, shift)]
    if variant == "code" and patches % groups:
        rolled += rolled[-2:-1]
    run, left = divmod(len(rolled), groups)
    if patches < shift or run == 0 or (variant == "code" and left):
        raise UserError(
            f"{patches} patches cannot be shuffled in {groups} groups with a shift of {shift}",
            where="method.jpm_groups",
            cure="use 2 groups and a shift below the number of patches, or jpm_shuffle slides",
        )
    return [rolled[group * run + place] for place in range(run) for group in range(groups)]


def pieces(patches: int, *, branches: int, shift: int, groups: int, variant: Shuffle) -> list[list[int]]:
    """Return the patches of each of `branches` equal pieces, numbered from 1.

    Raises:
        UserError: when there are too few patches.
    """
    order = shuffled(patches, shift=shift, groups=groups, variant=variant)
    length = patches // branches
    if length == 0 or branches * length > len(order):
        raise UserError(
            f"{patches} patches cannot be shared by {branches} branches",
            where="method.jpm_branches",
            cure="use fewer branches, larger images or a smaller model.stride",
        )
    return [order[piece * length : (piece + 1) * length] for piece in range(branches)]


class Jigsaw(nn.Module):
    """The local features of an image.

    Args:
        backbone: whose last block and norm are copied, as they are now.
        branches: number of pieces, k.
        shift, groups, variant: of the shuffle.
    """

    def __init__(self, backbone: ViT, *, branches: int, shift: int, groups: int, variant: Shuffle) -> None:
        super().__init__()
        self.block = copy.deepcopy(backbone.blocks[-1])
        self.norm = copy.deepcopy(backbone.norm)
        found = pieces(
            backbone.grid[0] * backbone.grid[1], branches=branches, shift=shift, groups=groups, variant=variant
        )
        self.register_buffer("places", torch.tensor(found), persistent=False)

    def forward(
        self, tokens: Float[Tensor, "b n d"], keep: Float[Tensor, "k 2 b"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return one feature for each piece.

        Args:
            tokens: before the backbone's last block, class token first.
            keep: drop-path of the block, for each piece and image.
        """
        places = self.get_buffer("places")
        found = tokens.index_select(1, places.flatten()).unflatten(1, places.shape)  # (b, k, length, d)
        first = tokens[:, None, :1].expand(-1, len(places), -1, -1)
        whole = torch.cat([first, found], dim=2).flatten(0, 1)  # (b * k, 1 + length, d)
        assert isinstance(self.block, Block), "a vision transformer's block"
        one = self.block.first(whole, None if keep is None else keep.permute(1, 2, 0).flatten(1))
        return self.norm(one).unflatten(0, (len(tokens), len(places)))
