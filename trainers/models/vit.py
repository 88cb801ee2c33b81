"""Vision transformers, with what re-identification changes about them: overlapping patches on an upright grid.

    image (b, 3, H, W) -> patches (b, N, d), class token in front, + positions  -> blocks -> norm
    block: x + a keep_0 attention(norm(x));  x + a keep_1 mlp(norm(x))           keep: drop-path, 0 or 1 / (1 - rate)

Only the class token of the last block is ever asked for, so the last block computes no other: the same numbers as
`blocks(x)[:, 0]` for a sixth of that block's arithmetic. Tokens before the last block are handed out too, for branches
that look at parts of the image.

Norms come first and have eps 1e-6, queries, keys and values have biases, element dropout is 0. Modules and parameters
carry timm's names, so published weights map almost one to one (`vit_weights.py`).

Source: Dosovitskiy et al. 2021 (arXiv:2010.11929); He et al. 2021 (TransReID, arXiv:2102.04378) and its published code,
also for the initialisation, and for drop-path that rises linearly from 0 to its rate over the depth.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from resight.trainers.checks import at_least, require, within
from resight.trainers.models.attention import Attention
from resight.trainers.models.patch_embed import PatchEmbed, grid_of
from resight.trainers.models.recompute import recomputed

__all__ = ["Block", "ViT", "VitConfig"]

Keep = Float[Tensor, "2 b"]
"""What a block's two residual branches are multiplied by, for each image."""


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """Which vision transformer.

    Attributes:
        kind: tells this backbone from others.
        width: of a token: 768 in ViT-B, 384 in ViT-S.
        depth: number of blocks.
        heads: of each attention; they share out the width.
        mlp_ratio: width of the multi-layer perceptrons over `width`.
        patch: side of a patch in pixels.
        stride: distance between patches in pixels; below `patch` they overlap.
        drop_path: probability of dropping a residual branch in the last block; it rises linearly from 0.
        weights: where the initial weights come from: None is random; "timm:NAME" a named download; else the path of a
            .safetensors file or of a torch file of plain tensors.
        grid_ratio: height over width of the images the weights were trained on, 1 for ImageNet's.
        download: whether a named download may go out to the network.
    """

    kind: Literal["vit"] = "vit"
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_ratio: int = 4
    patch: int = 16
    stride: int = 16
    drop_path: float = 0.1
    weights: str | None = None
    grid_ratio: int = 1
    download: Literal["never", "allow"] = "never"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "mlp_ratio", "patch", "stride", "grid_ratio"):
            at_least(f"model.{name}", getattr(self, name), 1)
        within("model.drop_path", self.drop_path, 0, 0.99)
        require(
            self.width % self.heads == 0,
            f"{self.heads} heads cannot share out a width of {self.width}",
            where="model.heads",
            cure="make model.width a multiple of model.heads",
        )

    @property
    def drop_rates(self) -> tuple[float, ...]:
        """The probability of dropping a branch, by block."""
        return tuple(float(rate) for rate in np.linspace(0, self.drop_path, self.depth))


class ViT(nn.Module):
    """A vision transformer without its classifier, for images of one size.

    Attributes:
        grid: (rows, columns) of patches; N is their product.
        dim: width of a token, d.
        recompute: whether all blocks but the last are computed again in the backward pass.
    """

    def __init__(self, config: VitConfig, *, height: int, width: int) -> None:
        super().__init__()
        self.grid = grid_of(height, width, patch=config.patch, stride=config.stride)
        self.dim = config.width
        self.recompute = False
        self.patch_embed = PatchEmbed(config.width, patch=config.patch, stride=config.stride)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], config.width))
        hidden = config.mlp_ratio * config.width
        self.blocks = nn.ModuleList(Block(config.width, config.heads, hidden) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks.apply(_initialise)

    def forward(
        self,
        images: Float[Tensor, "b 3 height width"],
        *,
        shift: Float[Tensor, "b 1 d"] | None = None,
        keep: Float[Tensor, "depth 2 b"] | None = None,
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b n d"]]:
        """Return the normed class token, and all tokens (class token first) as they enter the last block.

        Args:
            images: normalised, of the size this network was built for.
            shift: added to every token of an image.
            keep: what each block's residual branches are multiplied by; None drops nothing.
        """
        x = self.tokens(images)
        x = x if shift is None else x + shift
        for layer, block in enumerate(self.blocks[:-1]):
            kept = None if keep is None else keep[layer]
            x = recomputed(block, x, kept) if self.recompute else block(x, kept)
        last = self.blocks[-1]
        assert isinstance(last, Block), "all blocks are of one kind"
        return self.norm(last.first(x, None if keep is None else keep[-1])), x

    def tokens(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b n d"]:
        """Return the class token and the patches, each with its position added."""
        patches = self.patch_embed(images)
        return torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed


class Block(nn.Module):
    """Attention and a multi-layer perceptron, each after a norm and beside a shortcut: (b, n, d) -> (b, n, d).

    Args:
        width: d.
        heads: of the attention.
        hidden: width inside the perceptron.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Float[Tensor, "b n d"], keep: Keep | None = None) -> Float[Tensor, "b n d"]:
        """Return the tokens after the block."""
        x = x + _kept(self.attn(self.norm1(x)), keep, 0)
        return x + _kept(self.mlp(self.norm2(x)), keep, 1)

    def first(self, x: Float[Tensor, "b n d"], keep: Keep | None = None) -> Float[Tensor, "b d"]:
        """Return token 0 after the block, `forward(x, keep)[:, 0]`, and compute no other."""
        one = x[:, 0] + _kept(self.attn.first(self.norm1(x)), keep, 0)
        return one + _kept(self.mlp(self.norm2(one)), keep, 1)


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return the tokens, each changed by itself."""
        return self.fc2(F.gelu(self.fc1(x)))


def _kept(branch: Tensor, keep: Tensor | None, number: int) -> Tensor:
    """Scale a residual branch, image by image."""
    return branch if keep is None else branch * keep[number].view(-1, *[1] * (branch.ndim - 1))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
