"""The augmentation in torch, a whole batch at once, where the images already are: what `fused.apply` does, on a GPU.

Takes images of one byte a value, resized by the loader, so a quarter of the bytes travel to the device. Flip, pad and
crop are one gather, scaling and normalising the same table of 256 levels, an erased box a comparison of places; so
these are equal to the fused form bit for bit. Jittered colours and an erased box's noise are computed in float64 and
rounded once: equal to 1e-6. The host lists which images those are, so nothing waits for the device.

Source: as `fused.py`. Trade-off: two dozen passes over memory, on a CPU up to 75 times as slow as the fused form;
jitter in float64 is slow on GPUs made for games. Not measured on a GPU.
"""

from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor

from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.draws import Draws
from resight.datasets.augment.fused import IMAGENET_MEAN, level_table

__all__ = ["apply"]

_LUMA: Final = (0.2989, 0.587, 0.114)
_GOLDEN: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


def apply(
    images: UInt8[Tensor, "n height width 3"], draws: Draws, config: AugmentConfig
) -> Float32[Tensor, "n 3 height width"]:
    """Return the augmented, normalised images, contiguous, on the device of `images`.

    Args:
        images: n RGB images of the configured size, values 0 to 255.
        draws: what to do to each, one row an image.
        config: what `draws` was drawn with.
    """
    assert len(images) == len(draws), "one row of draws for each image"
    seen = _window(images, draws, config)
    out = _looked_up(seen, config)
    jittered = np.flatnonzero(draws.jitter)
    if len(jittered):
        rows = _sent(jittered, images)
        out[rows] = _recoloured(seen[rows], _sent(draws.colour[jittered], images), config)
    erased = np.flatnonzero(draws.box[:, 2] > 0)
    if len(erased):
        rows = _sent(erased, images)
        out[rows] = _erased(out[rows], draws, erased, config)
    return out


def _sent(values: np.ndarray, like: Tensor) -> Tensor:
    """Copy to the device of `like`; from pinned memory, or the host would wait until the device is idle."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else tensor


def _window(images: UInt8[Tensor, "n h w 3"], draws: Draws, config: AugmentConfig) -> UInt8[Tensor, "n 3 h w"]:
    """Return what is seen through each image's window, mirrored where it was drawn, black outside."""
    height, width = images.shape[1:3]
    drawn = np.stack([draws.top - config.pad, draws.left - config.pad, draws.flip], dtype=np.int64)
    down, right, flip = _sent(drawn, images)[:, :, None]  # (n, 1) each
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    rows, columns = rows + down, columns + right
    inside = _between(rows, 0, height)[:, :, None] & _between(columns, 0, width)[:, None, :]
    columns = torch.where(flip > 0, width - 1 - columns, columns).clamp(0, width - 1)
    places = (rows.clamp(0, height - 1) * width)[:, :, None] + columns[:, None, :]
    planes = images.permute(0, 3, 1, 2).flatten(2)
    seen = planes.gather(2, places.flatten(1)[:, None].expand(-1, 3, -1)).unflatten(2, (height, width))
    return seen.masked_fill_(~inside[:, None], 0)


def _between(places: Tensor, low: int | Tensor, high: int | Tensor) -> Tensor:
    return (places >= low) & (places < high)


def _looked_up(seen: UInt8[Tensor, "n 3 h w"], config: AugmentConfig) -> Float32[Tensor, "n 3 h w"]:
    table = _sent(level_table(config, np.dtype(np.float32)), seen)
    places = seen.flatten(2).long()
    return table.expand(len(seen), -1, -1).gather(2, places).view(seen.shape)


def _recoloured(
    seen: UInt8[Tensor, "m 3 h w"], colour: Float64[Tensor, "m 4"], config: AugmentConfig
) -> Float32[Tensor, "m 3 h w"]:
    """Return the images with their colours changed, normalised; the formulas and their order are `colour.py`'s."""
    brightness, contrast, saturation, turn = colour.T[:, :, None, None, None]  # (m, 1, 1, 1) each
    pixels = (seen.double() / 255 * brightness).clamp(0, 1)
    pixels = _blended(pixels, _grey(pixels).mean((2, 3), keepdim=True), contrast)
    pixels = _blended(pixels, _grey(pixels), saturation)
    pixels = torch.where(turn == 0, pixels, _turned(pixels, turn))
    mean, std = (_sent(np.array(value).reshape(3, 1, 1), seen) for value in (config.mean, config.std))
    return ((pixels - mean) / std).float()


def _grey(pixels: Float64[Tensor, "m 3 h w"]) -> Float64[Tensor, "m 1 h w"]:
    red, green, blue = pixels.split(1, dim=1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _blended(pixels: Tensor, dull: Tensor, factor: Tensor) -> Tensor:
    return (factor * pixels + (1 - factor) * dull).clamp(0, 1)


def _turned(pixels: Float64[Tensor, "m 3 h w"], turn: Float64[Tensor, "m 1 1 1"]) -> Float64[Tensor, "m 3 h w"]:
    """Turn the hue, keeping each pixel's largest and smallest channel."""
    high, low = pixels.amax(1, keepdim=True), pixels.amin(1, keepdim=True)
    spread = high - low
    safe = spread.where(spread > 0, 1)
    red, green, blue = pixels.split(1, dim=1)
    sector = torch.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sector = (torch.where(high == red, (green - blue) / safe, sector) + 6 * turn) % 6
    offsets = torch.tensor([5.0, 3.0, 1.0], dtype=torch.float64).view(3, 1, 1).to(pixels.device)
    away = (sector + offsets) % 6
    return high - spread * torch.minimum(away, 4 - away).clamp(0, 1)


def _erased(
    out: Float32[Tensor, "m 3 h w"], draws: Draws, chosen: Int64[np.ndarray, " m"], config: AugmentConfig
) -> Float32[Tensor, "m 3 h w"]:
    """Return the chosen images, each with its box filled."""
    top, left, height, width = _sent(draws.box[chosen].T.astype(np.int64), out)[:, :, None]  # (m, 1) each
    rows, columns = (torch.arange(size, device=out.device)[None] for size in out.shape[2:])
    inside = _between(rows, top, top + height)[:, :, None] & _between(columns, left, left + width)[:, None, :]
    if config.erase_fill == "noise":
        fill = _noise(_sent(draws.noise[chosen].view(np.int64), out), out.shape[1:])
    else:
        value = IMAGENET_MEAN if config.erase_fill == "imagenet_mean_after_normalise" else (0.0, 0.0, 0.0)
        fill = _sent(np.array(value, np.float32).reshape(1, 3, 1, 1), out)
    return torch.where(inside[:, None], fill, out)


def _noise(keys: Int64[Tensor, " m"], shape: torch.Size) -> Float32[Tensor, "m 3 h w"]:
    """Return standard normal values, a function of (key, place), for all places of each image."""
    place = torch.arange(shape.numel(), device=keys.device).view(1, *shape)
    keys = keys.view(-1, 1, 1, 1)
    radius = torch.sqrt(-2 * torch.log(1 - _uniform(keys, 2 * place)))
    return (radius * torch.cos(2 * torch.pi * _uniform(keys, 2 * place + 1))).float()


def _uniform(keys: Int64[Tensor, "m 1 1 1"], numbers: Int64[Tensor, "1 c h w"]) -> Float64[Tensor, "m c h w"]:
    """Return `draws.uniform` of each key and number; words are signed here, their bits are the same."""
    word = keys + (numbers + 1) * _signed(_GOLDEN)
    word = (word ^ _shifted(word, 30)) * _signed(_FIRST)
    word = (word ^ _shifted(word, 27)) * _signed(_SECOND)
    return _shifted(word ^ _shifted(word, 31), 11).double() * 2.0**-53


def _signed(word: int) -> int:
    """Return the number in 64 bits with a sign that has the bits of one without."""
    return word - (1 << 64) if word >= 1 << 63 else word


def _shifted(word: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    """Shift right and fill up with zeros; torch's own shift repeats the sign."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)
