"""Operations, peaks and their ratio against what can be counted by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from resight.trainers.config import EngineConfig
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape
from resight.trainers.speed import Speed, operations_per_image, peak_memory_mib, peak_of, published_peak
from tests.trainers.toy import CAMERAS, CLASSES, ToyData, toy_config, toy_vit_config

CPU = torch.device("cpu")


def counted(config: Any, **changes: Any) -> tuple[float | None, Any]:
    shape = DataShape(
        num_classes=CLASSES, num_cameras=CAMERAS, height=config.augment.height, width=config.augment.width
    )
    method = replace(method_of(config), **changes)
    models = method.build(config, shape)
    batch = next(ToyData(config).batches(0, 0, rank=0, world=1))
    return operations_per_image(method, models, batch, config), models


def test_a_vision_transformers_operations_are_counted_by_hand_too() -> None:
    """Two blocks on all nine tokens; last blocks on the class token, with keys and values of all they see."""
    config = toy_vit_config()
    found, models = counted(config)
    d, n, hidden = 24, 9, 96

    def block(tokens: int, queries: int) -> int:
        attention = queries * d * d + 2 * tokens * d * d + 2 * queries * tokens * d + queries * d * d
        return attention + 2 * queries * d * hidden

    patches = 8 * 3 * 8 * 8 * d
    by_hand = patches + 2 * block(n, n) + block(n, 1) + 2 * block(5, 1)
    assert found == 3 * 2 * by_hand
    assert not any(parameter.is_meta for parameter in models.parameters())
    assert all(parameter.grad is None for parameter in models.parameters())


def test_counting_moves_no_statistics() -> None:
    found, models = counted(toy_config())
    assert found is not None
    assert found > 0
    assert models["backbone"].bn1.num_batches_tracked == 0


def test_a_method_that_looks_at_its_images_is_left_out() -> None:
    def features(models: Any, batch: Any, config: Any) -> dict[str, Tensor]:
        return {"x": batch.images[: int(batch.images.sum().item())]}

    assert counted(toy_config(), features=features)[0] is None


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", None),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Something else", None),
    ],
)
def test_published_peaks_go_by_whole_words(name: str, tflops: float | None) -> None:
    found = published_peak(name)
    assert (None if found is None else found[0]) == tflops


def test_a_cpu_is_measured_and_says_so() -> None:
    peak = peak_of(EngineConfig(), CPU)
    assert peak is not None
    assert peak[0] > 1e-4
    assert peak[1].startswith("measured")
    assert peak_of(EngineConfig(peak_tflops=3), CPU) == (3, "engine.peak_tflops")


def test_what_is_not_known_gives_no_share() -> None:
    speed = Speed(operations_per_image=2e9, peak_tflops=4.0, peak_from="engine.peak_tflops")
    assert speed.share(2) == pytest.approx(2e9 / 8e12)
    assert replace(speed, peak_tflops=None).share(2) is None
    assert replace(speed, operations_per_image=None).share(2) is None
    assert peak_memory_mib(CPU) > 50
