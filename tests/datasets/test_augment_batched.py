"""The torch form of the augmentation against the fused one, which the float64 reference checks."""

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.datasets.augment import AugmentConfig, ColourJitter, batched, fused
from resight.datasets.augment.draws import draw, uniform
from resight.datasets.augment.plain import nothing_drawn

NORMAL: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


def pictures(seed: int, count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    images[:, : height // 3] = images[:, : height // 3, :, :1]  # greys have no hue
    return images


def both(images: np.ndarray, config: AugmentConfig, drawn: Any) -> tuple[np.ndarray, np.ndarray]:
    wanted = np.empty((len(images), 3, config.height, config.width), np.float32)
    fused.apply(list(images), drawn, config, wanted)
    found = batched.apply(torch.from_numpy(images), drawn, config)
    assert found.is_contiguous()
    return found.numpy(), wanted


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(2, 20), st.integers(2, 12)),
    count=st.integers(0, 6),
    pad=st.integers(0, 25),
    flip=st.floats(0, 1),
    erase=st.floats(0, 1),
    fill=st.sampled_from(["zero", "imagenet_mean_after_normalise", "noise"]),
    probability=st.floats(0, 1),
    strengths=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5)),
)
def test_equals_the_fused_form(
    seed: int,
    size: tuple[int, int],
    count: int,
    pad: int,
    flip: float,
    erase: float,
    fill: Any,
    probability: float,
    strengths: tuple[float, float, float, float],
) -> None:
    names = ("brightness", "contrast", "saturation", "hue")
    colour = ColourJitter(probability=probability, **dict(zip(names, strengths, strict=True)))
    config = AugmentConfig(
        height=size[0], width=size[1], pad=pad, flip=flip, erase=erase, erase_fill=fill, colour=colour, **NORMAL
    )
    drawn = draw(config, seed=seed, epoch=3, step=1, slots=range(count))
    found, wanted = both(pictures(seed, count, *size), config, drawn)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * max(1, np.abs(wanted).max(initial=0)))


def test_what_comes_from_the_table_is_equal_to_the_bit() -> None:
    config = AugmentConfig(height=48, width=24, pad=5, erase=0.7, **NORMAL)
    drawn = draw(config, seed=2, epoch=0, step=0, slots=range(32))
    found, wanted = both(pictures(0, 32, 48, 24), config, drawn)
    assert (found == wanted).all()


def test_with_nothing_drawn_it_normalises() -> None:
    config = AugmentConfig(height=8, width=4)
    images = pictures(1, 2, 8, 4)
    found = batched.apply(torch.from_numpy(images), nothing_drawn(2, config), config).numpy()
    wanted = (images / 255 - config.mean) / config.std
    np.testing.assert_allclose(found, wanted.transpose(0, 3, 1, 2), atol=1e-6)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.integers(0, 2**20))
def test_signed_words_give_the_same_uniforms(keys: list[int], first: int) -> None:
    signed = torch.from_numpy(np.array(keys, np.uint64).view(np.int64)).view(-1, 1, 1, 1)
    found = batched._uniform(signed, torch.arange(first, first + 3).view(1, 1, 1, 3))  # pyright: ignore[reportPrivateUsage]
    wanted = [[uniform(np.uint64(key), number) for number in range(first, first + 3)] for key in keys]
    assert found[:, 0, 0].tolist() == wanted
