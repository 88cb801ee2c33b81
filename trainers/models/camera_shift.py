"""Side information embedding (SIE): what a camera adds to every token, so that the network need not learn around it.

    shift(c) = factor * e_c        e_c (d,), learned; factor 3
    shift of a camera that was not trained on = factor * mean over c of e_c

Source: He et al. 2021 (TransReID, arXiv:2102.04378, section 3.3, eq. 3) and its published code, for cameras. The code
has no answer to an unknown camera, and none to data with a single one; the mean is ours: the camera that is nearest to
all, and the one that it is when there is only one. It serves training pictures whose camera is not known as well.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

__all__ = ["CameraShift"]


class CameraShift(nn.Module):
    """A learned vector for each camera.

    Args:
        cameras: how many were trained on; 0, when none is known, makes one vector for all.
        width: of a token.
        factor: on the vectors.
    """

    def __init__(self, cameras: int, width: int, *, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.table = nn.Parameter(torch.zeros(max(1, cameras), 1, width))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, camids: Int64[Tensor, " b"]) -> Float[Tensor, "b 1 d"]:
        """Return what is added to each image's tokens; cameras outside 0 .. C - 1 get the mean."""
        known = (camids >= 0) & (camids < len(self.table))
        rows = torch.cat([self.table, self.table.mean(0, keepdim=True)])  # (C + 1, 1, d)
        return self.factor * rows[camids.where(known, len(self.table))]
