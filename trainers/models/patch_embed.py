"""From an image to tokens: one linear map of each patch, where patches may overlap.

    y = 0 .. (H - p) // s,  x = 0 .. (W - p) // s        p: patch, s: stride; 256x128, 16 / 12 gives 21 x 10 tokens
    token[y * num_x + x] = W vec(image[s y : s y + p, s x : s x + p]) + b

Rows and columns that no patch covers are not seen. Source: Dosovitskiy et al. 2021 (arXiv:2010.11929), s = p; He et al.
2021 (TransReID, arXiv:2102.04378, section 3.1), s < p. Trade-off: stride 12 costs 1.7 times stride 16.
"""

from jaxtyping import Float
from torch import Tensor, nn

from resight.cluster.errors import UserError

__all__ = ["PatchEmbed", "grid_of"]


def grid_of(height: int, width: int, *, patch: int, stride: int) -> tuple[int, int]:
    """Return (rows, columns) of tokens of a height x width image.

    Raises:
        UserError: when the image is smaller than a patch.
    """
    if min(height, width) < patch:
        raise UserError(
            f"a {height}x{width} image holds no patch of {patch}x{patch} pixels",
            where="model.patch",
            cure="raise augment.height and augment.width, or lower model.patch",
        )
    return (height - patch) // stride + 1, (width - patch) // stride + 1


class PatchEmbed(nn.Module):
    """A convolution whose kernel is the patch.

    Args:
        width: of a token.
        patch: side of a patch in pixels.
        stride: distance between patches in pixels.
    """

    def __init__(self, width: int, *, patch: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=stride)
        nn.init.normal_(self.proj.weight, std=(2 / (patch * patch * width)) ** 0.5)  # as TransReID's code

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b n d"]:
        """Return the tokens, row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)
