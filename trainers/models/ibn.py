"""Instance norm on one half of the channels, batch norm on the other: what makes a backbone less tied to one camera.

Source: Pan et al. 2018 (arXiv:1807.09441, IBN-a). Instance norm removes an image's own contrast and colour cast, which
differ between data sets; the batch-normalised half keeps what tells people apart. Sub-modules carry the names of the
published weights, IN and BN.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["InstanceBatchNorm"]


class InstanceBatchNorm(nn.Module):
    """Normalise the first half of the channels per image and the rest over the batch.

    Args:
        channels: of the input; the first `channels // 2` get instance norm, with a learned scale and shift.
        norm: makes the batch norm of the others.
    """

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = norm(channels - self.split)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the two halves, each normalised its own way."""
        return torch.cat([self.IN(x[:, : self.split].contiguous()), self.BN(x[:, self.split :].contiguous())], dim=1)
