"""Multi-head self-attention.

    q, k, v = x W_q + b_q, ...      h heads of d / h numbers each
    out = softmax(q k^T / sqrt(d / h)) v, heads side by side, W_o + b_o

Source: Vaswani et al. 2017 (arXiv:1706.03762); names and the joint `qkv` layer as in timm. The product goes through
torch's scaled_dot_product_attention, which chooses a fused kernel where there is one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Attention"]


class Attention(nn.Module):
    """Self-attention over tokens.

    Args:
        width: of a token, a multiple of `heads`.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return what each token gathers from all."""
        q, k, v = self._split(self.qkv(x), 3)
        return self._merged(F.scaled_dot_product_attention(q, k, v))

    def first(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """Return what token 0 gathers from all: `forward(x)[:, 0]`, at a fraction of its cost."""
        width = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        (q,) = self._split(F.linear(x[:, :1], weight[:width], bias[:width]), 1)
        k, v = self._split(F.linear(x, weight[width:], bias[width:]), 2)
        return self._merged(F.scaled_dot_product_attention(q, k, v))[:, 0]

    def first_weights(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b heads n"]:
        """Return the share of each token in what token 0 gathers, by head: the softmax that `first` leaves inside.

        For pictures of where a network looks; fused kernels do not hand these numbers out.
        """
        width = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        (q,) = self._split(F.linear(x[:, :1], weight[:width], bias[:width]), 1)
        (k,) = self._split(F.linear(x, weight[width : 2 * width], bias[width : 2 * width]), 1)
        return torch.softmax(q @ k.transpose(2, 3) * q.shape[3] ** -0.5, dim=3)[:, :, 0]

    def _split(self, joint: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Part (b, n, parts * d) into (b, heads, n, d / heads) each."""
        return torch.unbind(joint.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4))

    def _merged(self, heads: Tensor) -> Tensor:
        return self.proj(heads.transpose(1, 2).flatten(2))
