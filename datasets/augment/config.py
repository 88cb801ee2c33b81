"""What may be done to an image on its way into the network, and how strongly.

The defaults are those of the strong baseline, in its order: resize, flip, pad, random crop, scale to [0, 1], (colour
jitter, off), normalise, random erasing. Source: Luo et al. 2019 (arXiv:1903.07071) and its published code; Zhong et
al. 2017, random erasing (arXiv:1708.04896). The code writes ImageNet's mean into the *already normalised* tensor, so
the erased box is a light grey and not the mean; that is what `erase_fill` says by name, and its default, because the
published figures have it.
"""

from dataclasses import dataclass, field
from typing import Literal

from resight.cluster.errors import UserError

__all__ = ["AugmentConfig", "ColourJitter", "EraseFill", "Interpolation"]

Interpolation = Literal["linear", "cubic", "area"]
EraseFill = Literal["imagenet_mean_after_normalise", "zero", "noise"]


@dataclass(frozen=True, kw_only=True)
class ColourJitter:
    """Random changes of colour, in this order. Strengths are as torchvision's: a factor is drawn from [1 - s, 1 + s].

    Attributes:
        probability: of touching an image at all; 0 switches the jitter off.
        brightness: strength, multiplies all channels.
        contrast: strength, distance from the image's mean grey.
        saturation: strength, distance from each pixel's grey.
        hue: largest turn of the colour circle in either direction, in [0, 0.5] turns.
    """

    probability: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        _within("probability", self.probability, 0.0, 1.0)
        for name in ("brightness", "contrast", "saturation"):
            _within(name, getattr(self, name), 0.0, 1.0)
        _within("hue", self.hue, 0.0, 0.5)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Sizes, probabilities and fills.

    Attributes:
        height, width: of the network's input, in pixels.
        interpolation: of the resize. linear and cubic sample the source without a low-pass filter (fastest, best for
            enlarging); area averages and is meant for sources larger than the input.
        flip: probability of a left-right flip.
        pad: black border in pixels, from which a window of height x width is cropped at random.
        erase: probability of erasing one box.
        erase_area: smallest and largest share of the image's area.
        erase_aspect: smallest ratio of the box's height to its width; the largest is its inverse.
        erase_tries: boxes drawn until one fits.
        erase_fill: what the box holds, all in units of the normalised tensor: the three numbers of ImageNet's mean,
            zero, or standard normal noise for each value.
        colour: colour jitter, before normalising.
        mean, std: of normalisation, for values in [0, 1], RGB.
    """

    height: int = 256
    width: int = 128
    interpolation: Interpolation = "linear"
    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: float = 0.3
    erase_tries: int = 100
    erase_fill: EraseFill = "imagenet_mean_after_normalise"
    colour: ColourJitter = field(default_factory=ColourJitter)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _within("height", self.height, 1, 8192)
        _within("width", self.width, 1, 8192)
        _within("flip", self.flip, 0.0, 1.0)
        _within("pad", self.pad, 0, 8192)
        _within("erase", self.erase, 0.0, 1.0)
        _within("erase_area[0]", self.erase_area[0], 0.0, self.erase_area[1])
        _within("erase_area[1]", self.erase_area[1], self.erase_area[0], 1.0)
        _within("erase_aspect", self.erase_aspect, 1e-6, 1.0)
        _within("erase_tries", self.erase_tries, 1, 10_000)
        for value in self.std:
            _within("std", value, 1e-6, 1e6)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(
            f"augmentation: {name} is {value}, outside [{low:g}, {high:g}]",
            where=f"augment.{name}",
            cure="choose a value inside the range",
        )
