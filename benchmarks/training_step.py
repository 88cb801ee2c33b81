"""A training step with each field that shall make it cheaper, against the plain step in the same run.

    python benchmarks/training_step.py [--batch 16] [--repeats 7] [--compile] [--json]

The whole step as the single engine takes it: forward, losses, backward, optimiser; float32, one thread, on a CPU. Two
networks: the strong baseline's ResNet of 18 layers, width 32, and TransReID's ViT of width 192, 6 blocks, both on
128x64 images. Steps of all variants alternate, and what counts are ratios of CPU time to the plain step: below 1 is
faster. Not all pay on a CPU, and those that do not are shown as well: the optimiser is a small part of these steps, and
checkpointing trades time for memory. `kept` is what the forward pass leaves in memory for the backward pass, beside
weights. Compiling takes minutes and is measured on request.

Claimed: measuring the parts of a step costs less than 1 % of it; checkpointing keeps less than half.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from resight.datasets.batch import Batch
from resight.trainers.config import Config, with_overrides
from resight.trainers.engines.single import SingleEngine
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.fit import weighted_sum
from resight.trainers.job import make_job
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid

HEIGHT, WIDTH, IDS, CAMERAS = 128, 64, 100, 6
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "channels_last": {"engine.memory_format": "channels_last"},
    "bfloat16": {"engine.precision": "bfloat16"},
    "bfloat16, channels_last": {"engine.precision": "bfloat16", "engine.memory_format": "channels_last"},
    "foreach optimiser": {"optim.loop": "foreach"},
    "fused optimiser": {"optim.loop": "fused"},
    "checkpointed": {"engine.checkpoint_activations": True},
}
COMPILED: dict[str, dict[str, Any]] = {
    "compiled": {"engine.compile": True},
    "compiled, bfloat16": {"engine.compile": True, "engine.precision": "bfloat16"},
}
Step = Callable[[], None]


class _Data:
    """One batch, again and again."""

    num_classes, num_cameras, steps_per_epoch = IDS, CAMERAS, 1
    cameras = tuple(map(str, range(CAMERAS)))
    held_out = ()

    def __init__(self, count: int) -> None:
        labels = torch.arange(count) // 4
        self.batch = Batch(
            images=torch.randn(count, 3, HEIGHT, WIDTH), slots=range(count), rows=torch.arange(count), labels=labels,
            pids=labels, camids=torch.arange(count) % CAMERAS, has_id=torch.ones(count, dtype=torch.bool),
            has_shape=torch.zeros(count, dtype=torch.bool), epoch=0, step=0, seed=0,
        )  # fmt: skip

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        """Yield it once."""
        yield self.batch

    def keys(self, rows: Tensor) -> list[str]:
        """Return nothing: the images have no names."""
        return []


def config_of(network: str, fields: dict[str, Any]) -> Config:
    size = {"augment.height": HEIGHT, "augment.width": WIDTH, "engine.device": "cpu"}
    if network == "resnet":
        return with_overrides(strong_baseline("tiny"), size | {"model.depth": 18, "model.width": 32} | fields)
    return with_overrides(transreid("tiny"), size | fields)


def make_step(config: Config, data: _Data) -> tuple[Step, SingleEngine]:
    engine = SingleEngine(config.engine)
    job = make_job(config, data, engine)
    whole = WholeLoss(job.method, job.moving.models, config, job.moving.state, None, engine.clock)
    engine.prepare(whole, job.moving.optimizer, lambda: data.batch)
    weights = job.method.weights(config)

    def step() -> None:
        engine.backward(weighted_sum(engine.forward([data.batch]), weights))
        engine.step(None)
        engine.clock.read()

    return step, engine


def kept_mib(step: Step, engine: SingleEngine) -> float:
    """Return what a forward pass keeps for its backward pass beside leaves such as weights and the batch."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not tensor.is_leaf:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(storages.values()) / 2**20


def cpu_seconds(step: Step) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


def clock_share(step: Step, engine: SingleEngine, seconds: float) -> float:
    """Return what the engine's three spans and a reading take, as a share of a step."""
    begin, rounds = time.process_time(), 2000
    for _ in range(rounds):
        for part in ("forward", "backward", "optimiser"):
            with engine.clock.span(part):
                pass
        engine.clock.read()
    return (time.process_time() - begin) / rounds / seconds


def measure(network: str, variants: dict[str, dict[str, Any]], batch: int, repeats: int) -> dict[str, Any]:
    data = _Data(batch)
    made = {name: make_step(config_of(network, fields), data) for name, fields in variants.items()}
    for step, _ in made.values():
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(repeats):
        for name, (step, _) in made.items():
            times[name].append(cpu_seconds(step))
    plain = statistics.median(times["plain"])
    ratios = {
        name: [one / base for one, base in zip(each, times["plain"], strict=True)] for name, each in times.items()
    }
    return {
        "plain_s": plain,
        "clock_share": clock_share(*made["plain"], plain),
        "variants": {
            name: {
                "ratio": statistics.median(each),
                "spread": [min(each), max(each)],
                "kept_mib": None if "compiled" in name else kept_mib(*made[name]),
            }
            for name, each in ratios.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    variants = VARIANTS | (COMPILED if options.compile else {})
    found = {name: measure(name, variants, options.batch, options.repeats) for name in ("resnet", "vit")}
    if options.json:
        print(json.dumps(found))
        return
    for network, result in found.items():
        plain = 1000 * result["plain_s"]
        print(
            f"{network}: {plain:.0f} ms a plain step of {options.batch}, of which measuring {result['clock_share']:.3%}"
        )
        for name, facts in result["variants"].items():
            low, high = facts["spread"]
            kept = "" if facts["kept_mib"] is None else f"  kept {facts['kept_mib']:6.1f} MiB"
            print(f"  {name:24} {facts['ratio']:.2f} of plain ({low:.2f} to {high:.2f}){kept}")


if __name__ == "__main__":
    main()
