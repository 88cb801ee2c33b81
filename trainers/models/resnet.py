"""Residual networks, with what re-identification changes about them: the last stage keeps its resolution, and IBN.

    image (b, 3, H, W) -> conv1 7x7/2, norm, [ReLU], max pool 3x3/2 -> layer1 .. layer4 (strides 1, 2, 2, last_stride)

With `last_stride` 1 a 256x128 image becomes a 16x8 map. Modules and parameters carry torchvision's names, so published
weights map almost one to one (`weights.py`).

Source: He et al. 2016 (arXiv:1512.03385), with the stride in the 3x3 convolution as torchvision has it; Luo et al. 2019
(arXiv:1903.07071) for the last stride. Depth 10 and widths other than 64 are ours, for tests and laptops.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from resight.trainers.checks import at_least
from resight.trainers.models.ibn import InstanceBatchNorm
from resight.trainers.models.recompute import recomputed
from resight.trainers.norm import GlobalBatchNorm

__all__ = ["BLOCKS", "STAGES", "Norm", "ResNet", "ResNetConfig"]

STAGES: Final = ("conv1", "layer1", "layer2", "layer3", "layer4")
"""Names of the feature maps, from the image inwards."""

BLOCKS: Final[dict[int, tuple[int, int, int, int]]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}
"""Residual blocks in each stage, by depth; from 50 on they are bottlenecks."""

Norm = Callable[[int], nn.Module]


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Which residual network.

    Attributes:
        kind: tells this backbone from others.
        depth: 10, 18, 34, 50 or 101 layers.
        width: channels of the first stage; 64 in all published weights.
        stem: what follows the first norm: relu, as published, or nothing. The code of the strong baseline and of MMT
            has no ReLU there, so their results and weights are those of a linear stem (their IBN networks have one).
        last_stride: of layer4; 1 doubles the resolution of the last map.
        ibn: "a" puts instance norm on half the channels of each block's first norm in layer1 to layer3.
        weights: where the initial weights come from: None is random; "timm:NAME" a named download; else the path of a
            .safetensors file or of a torch file of plain tensors.
        download: whether a named download may go out to the network.
    """

    kind: Literal["resnet"] = "resnet"
    depth: Literal[10, 18, 34, 50, 101] = 50
    width: int = 64
    stem: Literal["relu", "linear"] = "relu"
    last_stride: Literal[1, 2] = 1
    ibn: Literal["none", "a"] = "none"
    weights: str | None = None
    download: Literal["never", "allow"] = "never"

    def __post_init__(self) -> None:
        at_least("model.width", self.width, 2)


class ResNet(nn.Module):
    """A residual network without its classifier.

    Attributes:
        channels: of each map in `STAGES`.
        dim: channels of the last map.
        recompute: whether residual blocks are computed again in the backward pass.
    """

    def __init__(self, config: ResNetConfig, *, norm: Norm = GlobalBatchNorm) -> None:
        super().__init__()
        block = Bottleneck if config.depth >= 50 else BasicBlock
        widths = [config.width * 2**stage for stage in range(4)]
        self.channels = (config.width, *(width * block.expansion for width in widths))
        self.dim = self.channels[-1]
        self.recompute = False
        self.conv1 = nn.Conv2d(3, config.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(config.width)
        self.act1 = nn.ReLU() if config.stem == "relu" else nn.Identity()
        strides = (1, 2, 2, config.last_stride)
        for stage, (inside, out) in enumerate(pairwise(self.channels)):
            first = _mixed(norm) if config.ibn == "a" and stage < 3 else norm
            blocks = [
                block(inside if i == 0 else out, widths[stage], strides[stage] if i == 0 else 1, norm, first)
                for i in range(BLOCKS[config.depth][stage])
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.apply(_initialise)

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b dim h w"]:
        """Return the last feature map."""
        return self.maps(images)["layer4"]

    def maps(self, images: Float[Tensor, "b 3 height width"]) -> dict[str, Tensor]:
        """Return the feature maps by name: conv1 before the pooling, at half resolution, then layer1 to layer4."""
        x = self.act1(self.bn1(self.conv1(images)))
        maps = {"conv1": x}
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name in STAGES[1:]:
            for block in self.get_submodule(name).children():
                x = recomputed(block, x) if self.recompute else block(x)
            maps[name] = x
        return maps


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (b, inside, h, w) -> (b, width, h / stride, w / stride)."""

    expansion = 1

    def __init__(self, inside: int, width: int, stride: int, norm: Norm, first: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = first(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = norm(width)
        self.downsample = _shortcut(inside, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + f(x)), x resized where shapes differ."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: (b, inside, h, w) -> (b, 4 width, h / stride, w / stride)."""

    expansion = 4

    def __init__(self, inside: int, width: int, stride: int, norm: Norm, first: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = first(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = norm(4 * width)
        self.downsample = _shortcut(inside, 4 * width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + f(x)), x resized where shapes differ."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.downsample(x))


def _shortcut(inside: int, outside: int, stride: int, norm: Norm) -> nn.Module:
    if stride == 1 and inside == outside:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride=stride, bias=False), norm(outside))


def _mixed(norm: Norm) -> Norm:
    return lambda channels: InstanceBatchNorm(channels, norm)


def _initialise(module: nn.Module) -> None:
    """Draw convolutions from He's normal distribution (arXiv:1502.01852), counted over outputs; norms start as ones."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
