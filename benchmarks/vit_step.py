"""A training step of ViT-S with SIE and JPM, against the sum of its parts written plainly.

    python benchmarks/vit_step.py [--batch 4] [--repeats 5] [--json]

ViT-S/16 on 256x128 images, 128 tokens and the class token, float32, on one core. The step is `features`, `losses` and
the backward pass of the `transreid` method: cameras, drop-path, five branches, batch-hard triplets. Its parts, written
with nothing but torch's layers and run one after the other, forward and backward each:
  patches      a convolution and the sum of tokens, positions and camera vectors
  trunk        11 pre-norm blocks (scaled_dot_product_attention, GELU perceptron), drop-path as a product
  global       the last block on all tokens, and a norm
  local        the last block on the class token and each quarter of the patches, and a norm
  heads        5 batch norms, classifiers, cross entropies and triplet losses by a full distance matrix
Claimed: the step takes at most 1.05 times the sum. It may take less: it asks the last block for its class token alone.
Repeats alternate; ratios of CPU time come first, since other processes spoil them less than those of elapsed time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resight.datasets.batch import Batch
from resight.trainers.config import Config, with_overrides
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape, Models
from resight.trainers.recipes.transreid import transreid

CLAIM = 1.05
IDS, CAMERAS = 100, 6
WIDTH, HEADS, DEPTH, TOKENS, BRANCHES = 384, 6, 12, 128, 4
Part = Callable[[], Tensor]


def make_config() -> Config:
    """The recipe's small size, at the paper's patch and image."""
    size = {"augment.height": 256, "augment.width": 128, "model.patch": 16, "model.stride": 16}
    return with_overrides(transreid("small"), size)


def make_batch(count: int) -> Batch:
    labels = torch.arange(count) // 2
    return Batch(
        images=torch.randn(count, 3, 256, 128), slots=range(count), rows=torch.arange(count), labels=labels,
        pids=labels, camids=torch.arange(count) % CAMERAS, has_id=torch.ones(count, dtype=torch.bool),
        has_shape=torch.zeros(count, dtype=torch.bool), epoch=0, step=0, seed=0,
    )  # fmt: skip


def make_step(config: Config, models: Models, batch: Batch) -> Part:
    method = method_of(config)
    weights = method.weights(config)

    def step() -> Tensor:
        losses = method.losses(models, method.features(models, batch, config), batch, config, {})
        return torch.stack([losses[name] * weight for name, weight in weights.items()]).sum()

    return step


class PlainBlock(nn.Module):
    """A pre-norm block with drop-path as a product."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after the block."""
        b, n, _ = x.shape
        keep = (torch.rand(2, b, 1, 1) < 0.95) / 0.95
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        x = x + keep[0] * self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, WIDTH))
        return x + keep[1] * self.fc2(F.gelu(self.fc1(self.norm2(x))))


def make_parts(batch: Batch) -> dict[str, Part]:
    """Each part on inputs of its own, so that its backward pass ends where it begins."""
    count = batch.total
    proj = nn.Conv2d(3, WIDTH, 16, stride=16)
    cls, positions = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 1 + TOKENS, WIDTH))
    table = nn.Parameter(torch.randn(CAMERAS, 1, WIDTH))
    trunk = nn.Sequential(*(PlainBlock() for _ in range(DEPTH - 1)))
    last, last_local, norm, norm_local = PlainBlock(), PlainBlock(), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
    necks = nn.ModuleList(nn.BatchNorm1d(WIDTH) for _ in range(1 + BRANCHES))
    classifiers = nn.ModuleList(nn.Linear(WIDTH, IDS, bias=False) for _ in range(1 + BRANCHES))
    tokens = torch.randn(count, 1 + TOKENS, WIDTH, requires_grad=True)
    found = torch.randn(count, 1 + BRANCHES, WIDTH, requires_grad=True)

    def patches() -> Tensor:
        x = proj(batch.images).flatten(2).transpose(1, 2)
        x = torch.cat([cls.expand(count, -1, -1), x], dim=1) + positions
        return (x + 3 * table[batch.camids]).sum()

    def local() -> Tensor:
        rolled = torch.cat([tokens[:, 5:], tokens[:, 1:5]], dim=1)
        mixed = rolled.view(count, 2, -1, WIDTH).transpose(1, 2).reshape(count, TOKENS, WIDTH)
        pieces = mixed.chunk(BRANCHES, dim=1)
        return sum_of([norm_local(last_local(torch.cat([tokens[:, :1], piece], 1)))[:, 0] for piece in pieces])

    def heads() -> Tensor:
        losses: list[Tensor] = []
        for neck, classifier, feature in zip(necks, classifiers, found.unbind(1), strict=True):
            losses += [F.cross_entropy(classifier(neck(feature)), batch.labels), plain_triplet(feature, batch.labels)]
        return torch.stack(losses).sum()

    return {
        "patches": patches,
        "trunk": lambda: trunk(tokens).sum(),
        "global": lambda: norm(last(tokens))[:, 0].sum(),
        "local": local,
        "heads": heads,
    }


def sum_of(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.sum() for tensor in tensors]).sum()


def plain_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Batch-hard, soft margin."""
    distances = (torch.cdist(features, features) ** 2).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    positive = distances.masked_fill(~same, -1).amax(1)
    negative = distances.masked_fill(same, torch.inf).amin(1)
    return F.softplus(positive - negative).mean()


def seconds(part: Part) -> tuple[float, float]:
    """CPU and elapsed time of a forward and a backward pass."""
    wall, cpu = time.perf_counter(), time.process_time()
    part().backward()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(batch_size: int, repeats: int) -> dict[str, Any]:
    config = make_config()
    shape = DataShape(num_classes=IDS, num_cameras=CAMERAS, height=256, width=128)
    models, batch = method_of(config).build(config, shape), make_batch(batch_size)
    parts = {"step": make_step(config, models, batch)} | make_parts(batch)
    for part in parts.values():
        part().backward()  # the first one allocates, and compiles the draws
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            times[name].append(seconds(part))
    ratios = [
        [
            times["step"][n][clock] / sum(times[name][n][clock] for name in parts if name != "step")
            for n in range(repeats)
        ]
        for clock in (0, 1)
    ]
    return {
        "batch": batch_size,
        "ratio_cpu": statistics.median(ratios[0]),
        "ratio_elapsed": statistics.median(ratios[1]),
        "claimed": CLAIM,
        "cpu_s": {name: statistics.median(cpu for cpu, _ in each) for name, each in times.items()},
        "images_per_s": batch_size / statistics.median(elapsed for _, elapsed in times["step"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = measure(options.batch, options.repeats)
    if options.json:
        print(json.dumps(found))
        return
    print(f"step / parts: {found['ratio_cpu']:.3f} CPU, {found['ratio_elapsed']:.3f} elapsed (claimed {CLAIM})")
    for name, cpu in found["cpu_s"].items():
        print(f"  {name:8} {1000 * cpu:8.1f} ms")


if __name__ == "__main__":
    main()
