"""Twenty steps of a recipe in float64, in a plain loop beside the real one: what `tests/golden/curves` freezes.

Inputs and first weights come from PCG64's raw stream, which numpy promises never to change, by exact arithmetic.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from resight.datasets.batch import Batch
from resight.trainers.config import Config
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape
from resight.trainers.optim import make_optimizer, set_lr
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid

FOLDER = Path(__file__).parent / "curves"
STEPS, STEPS_PER_EPOCH = 20, 2
IDS, IMAGES_PER_ID, CLASSES = 4, 4, 6


def texts() -> dict[str, str]:
    """Return {file name: the curve} for every recipe that has one."""
    configs = (strong_baseline("tiny", epochs=24), transreid("tiny", epochs=24))
    return {f"{config.recipe}-{config.size}.txt": curve(config) for config in configs}


def curve(config: Config) -> str:
    """Return one line a step, numbers to full precision."""
    method = method_of(config)
    shape = DataShape(num_classes=CLASSES, num_cameras=2, height=config.augment.height, width=config.augment.width)
    models = method.build(config, shape).double()
    fill(models)
    optimizer = make_optimizer(models, config.optim)
    state, weights = method.initial_state(models, config, shape), method.weights(config)
    lines: list[str] = []
    for step in range(STEPS):
        epoch, within = divmod(step, STEPS_PER_EPOCH)
        lr = set_lr(optimizer, config.schedule, config.optim, epoch, within, steps_per_epoch=STEPS_PER_EPOCH)
        batch = made_batch(step, shape)
        losses = method.losses(models, method.features(models, batch, config), batch, config, state)
        total = torch.stack([losses[key] * weight for key, weight in weights.items()]).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        parts = " ".join(f"{key}={loss.item()!r}" for key, loss in losses.items())
        lines.append(f"step={step + 1} lr={lr!r} {parts} total={total.item()!r}\n")
    return "".join(lines)


def numbers(line: str) -> dict[str, float]:
    """Return a line's values by name."""
    return {key: float(value) for key, _, value in (part.partition("=") for part in line.split())}


def fill(models: nn.Module) -> None:
    """Replace the first weights by uniform ones: He's variance for kernels, a narrow range for the classifier."""
    for number, (name, parameter) in enumerate(models.named_parameters()):
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            reach = 0.002 if name.startswith("classifier") else (6 / fan_in) ** 0.5
            values = (_raw(number, parameter.numel()) / 2**10 - 0.5) * 2 * reach
            parameter.data = torch.from_numpy(values).reshape(parameter.shape)


def made_batch(step: int, shape: DataShape) -> Batch:
    """Return a batch whose images share a coarse pattern within an identity."""
    count = IDS * IMAGES_PER_ID
    labels = (torch.arange(count) // IMAGES_PER_ID + step) % CLASSES
    noise = _raw(1000 + step, count * 3 * shape.height * shape.width) / 2**9 - 1
    images = noise.reshape(count, 3, shape.height, shape.width) / 2
    for row, label in enumerate(labels.tolist()):
        coarse = _raw(2000 + label, 3 * 8 * 4).reshape(3, 8, 4) / 2**9 - 1
        images[row] += 0.2 * np.kron(coarse, np.ones((1, shape.height // 8, shape.width // 4)))
    return Batch(
        images=torch.from_numpy(images), slots=range(count), rows=torch.arange(count), labels=labels, pids=labels,
        camids=torch.arange(count) % 2, has_id=torch.ones(count, dtype=torch.bool),
        has_shape=torch.zeros(count, dtype=torch.bool), epoch=step // STEPS_PER_EPOCH, step=step, seed=0,
    )  # fmt: skip


def _raw(stream: int, count: int) -> np.ndarray:
    """Return `count` whole numbers in [0, 1024) as float64."""
    words: np.ndarray = np.random.PCG64(stream).random_raw(count)
    return (words >> np.uint64(54)).astype(np.float64)
