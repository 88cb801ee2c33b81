"""The fused augmentation against the same steps done one after another in float64."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from resight.datasets.augment import AugmentConfig, ColourJitter, colour, draws, fused
from resight.datasets.augment.draws import Draws, draw
from resight.datasets.augment.fused import apply
from resight.datasets.augment.plain import nothing_drawn, test_transform
from resight.datasets.augment.resize import resize
from tests.reference import augment as reference

JITTER = ColourJitter(probability=0.7, brightness=0.4, contrast=0.4, saturation=0.5, hue=0.3)


def pictures(seed: int, count: int, height: int = 40, width: int = 20) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def expected(image: np.ndarray, drawn: Draws, i: int, config: AugmentConfig) -> np.ndarray:
    shape = (3, config.height, config.width)
    fills = {
        "zero": lambda: np.zeros(shape),
        "imagenet_mean_after_normalise": lambda: np.broadcast_to(np.array([0.485, 0.456, 0.406])[:, None, None], shape),
        "noise": lambda: reference.noise(int(drawn.noise[i]), config.height, config.width),
    }
    return reference.augment(
        resize(image, config),
        flip=bool(drawn.flip[i]),
        pad=config.pad,
        top=int(drawn.top[i]),
        left=int(drawn.left[i]),
        colour=drawn.colour[i] if drawn.jitter[i] else None,
        mean=config.mean,
        std=config.std,
        erased=tuple(int(v) for v in drawn.box[i]),  # type: ignore[arg-type]
        fill=fills[config.erase_fill](),
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(2, 16), st.integers(2, 10)),
    pad=st.integers(0, 20),
    fill=st.sampled_from(["zero", "imagenet_mean_after_normalise", "noise"]),
    interpolation=st.sampled_from(["linear", "cubic", "area"]),
    jitter=st.booleans(),
)
def test_apply_equals_the_steps_one_after_another(
    seed: int, size: tuple[int, int], pad: int, fill: Any, interpolation: Any, jitter: bool
) -> None:
    config = AugmentConfig(
        height=size[0],
        width=size[1],
        pad=pad,
        erase=0.8,
        erase_fill=fill,
        interpolation=interpolation,
        colour=JITTER if jitter else ColourJitter(),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
    )
    images = pictures(seed, 4)
    drawn = draw(config, seed=seed, epoch=1, step=2, slots=range(4))
    wanted = np.stack([expected(image, drawn, i, config) for i, image in enumerate(images)])
    for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
        out = np.full(wanted.shape, np.nan, dtype)
        apply(images, drawn, config, out)
        np.testing.assert_allclose(out, wanted, rtol=0, atol=tolerance * max(1, np.abs(wanted).max()))


def test_colours_are_torchvision_s() -> None:
    image = pictures(3, 1)[0] / 255.0
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    steps = tv.adjust_brightness(pixels, 1.3)
    steps = tv.adjust_saturation(tv.adjust_contrast(steps, 0.7), 1.4)
    wanted = tv.adjust_hue(steps, -0.2).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(reference.jitter(image, 1.3, 0.7, 1.4, -0.2), wanted, atol=1e-6)


def test_the_mean_is_written_into_the_normalised_tensor() -> None:
    config = AugmentConfig(height=32, width=16, erase=1)
    drawn = draw(config, seed=0, epoch=0, step=0, slots=[0])
    out = np.empty((1, 3, 32, 16), np.float32)
    apply(pictures(0, 1), drawn, config, out)
    top, left, height, width = drawn.box[0]
    erased = out[0, :, top : top + height, left : left + width].reshape(3, -1)
    assert (erased == np.array([0.485, 0.456, 0.406], np.float32)[:, None]).all()


def test_the_noise_of_a_box_is_standard_normal() -> None:
    config = AugmentConfig(erase=1, erase_fill="noise")
    drawn = draw(config, seed=0, epoch=0, step=0, slots=range(4))
    out = np.empty((4, 3, 256, 128), np.float32)
    apply(pictures(0, 4), drawn, config, out)
    boxes = [out[i, :, t : t + h, x : x + w].ravel() for i, (t, x, h, w) in enumerate(drawn.box)]
    values = np.concatenate(boxes)
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert abs(np.mean(np.abs(values) < 1) - 0.6827) < 0.01


def test_the_test_transform_resizes_and_normalises() -> None:
    config = AugmentConfig(height=24, width=12, colour=JITTER)
    images = [*pictures(1, 2), *pictures(2, 1, height=24, width=12)]
    out = test_transform(images, config)
    assert out.dtype == np.float32
    for image, result in zip(images, out, strict=True):
        small = image if image.shape == (24, 12, 3) else cv2.resize(image, (12, 24), interpolation=cv2.INTER_LINEAR)
        wanted = (small / 255 - config.mean) / config.std
        np.testing.assert_allclose(result, wanted.transpose(2, 0, 1), atol=1e-6)


def test_resizing_keeps_what_has_the_size() -> None:
    image = pictures(0, 1)[0]
    assert resize(image, AugmentConfig(height=40, width=20)) is image
    assert resize(image, AugmentConfig(height=80, width=30)).shape == (80, 30, 3)


def test_one_row_of_draws_for_each_image_is_needed() -> None:
    config = AugmentConfig(height=8, width=8)
    with pytest.raises(AssertionError, match="one row"):
        apply(pictures(0, 2), nothing_drawn(3, config), config, np.empty((2, 3, 8, 8), np.float32))


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("fill", ["zero", "noise"])
def test_the_kernels_are_plain_python_too(monkeypatch: pytest.MonkeyPatch, fill: Any) -> None:
    config = AugmentConfig(height=8, width=6, pad=3, erase=1, erase_fill=fill, colour=JITTER)
    drawn = draw(config, seed=4, epoch=0, step=0, slots=range(4))
    assert drawn.jitter.any()
    assert not drawn.jitter.all()
    compiled, plain = np.empty((4, 3, 8, 6)), np.empty((4, 3, 8, 6))
    apply(pictures(0, 4), drawn, config, compiled)
    for module, names in (
        (draws, ("mix", "uniform")),
        (colour, ("grey", "recolour", "_clip", "_blend", "_turn", "_share", "_wrapped")),
        (fused, ("_levels", "_pixel", "_coloured", "_erase", "_erase_with_noise")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).py_func)
    for name in ("grey", "recolour"):
        monkeypatch.setattr(fused, name, getattr(colour, name))
    monkeypatch.setattr(fused, "uniform", draws.uniform)
    apply(pictures(0, 4), drawn, config, plain)
    np.testing.assert_allclose(plain, compiled, atol=1e-13)
