"""What engines do alike: device, number format, memory format, compilation, the optimiser's step, the clock.

Networks are compiled in place, one by one, so no name in a state dict changes and checkpoints load with and without.
Every shape gets kernels of its own: torch's kernels for any shape would take over after a validation with another
batch size, and a resumed run would differ in the last bits.

Source: design of this project.
"""

import dataclasses

import torch
from torch import nn
from torch.optim import Optimizer

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.trainers.clock import Clock, cpu_mark, cuda_mark
from resight.trainers.config import EngineConfig
from resight.trainers.models.recompute import set_recompute

__all__ = ["apply_step", "arithmetic", "clock_for", "device_for", "place_batch", "place_module"]


def device_for(config: EngineConfig, local_rank: int) -> torch.device:
    """Return the device of the worker that is number `local_rank` on its machine."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("engine.device is 'cuda', and torch sees no CUDA device", cure="set engine.device to auto")
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def clock_for(device: torch.device) -> Clock:
    """Return a clock that tells the time of `device`."""
    return Clock(cuda_mark if device.type == "cuda" else cpu_mark)


def place_module(module: nn.Module, config: EngineConfig, device: torch.device) -> None:
    """Move `module` to its device and formats, in place; state-dict names stay as they are.

    Raises:
        UserError: when activations are to be recomputed and no network of `module` has blocks for it.
    """
    dtype = torch.float64 if config.precision == "float64" else None
    module.to(device=device, dtype=dtype)
    if config.memory_format == "channels_last":
        module.to(memory_format=torch.channels_last)
    if set_recompute(module, config.checkpoint_activations) == 0 and config.checkpoint_activations:
        raise UserError(
            "none of the networks has blocks that can be computed again",
            where="engine.checkpoint_activations",
            cure="set it to false",
        )
    if config.compile:
        for network in module.children():
            network.compile(dynamic=False)


def place_batch(batch: Batch, config: EngineConfig, device: torch.device) -> Batch:
    """Return `batch` on its device, the images in the number and memory format of the networks."""
    placed = batch.to(device, dtype=torch.float64 if config.precision == "float64" else None)
    if config.memory_format == "contiguous":
        return placed
    return dataclasses.replace(placed, images=placed.images.contiguous(memory_format=torch.channels_last))


def arithmetic(config: EngineConfig, device: torch.device) -> torch.autocast:
    """Return the context of a forward pass: bfloat16 autocast where the config asks for it, else nothing.

    Casts of weights are not kept for a second use: a block that is computed again would sum their gradients in another
    order than one that is not, and no network here uses a weight twice in a pass.
    """
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16", cache_enabled=False
    )


def apply_step(optimizer: Optimizer, clip_norm: float | None) -> None:
    """Clip the whole gradient's norm, let the optimiser step, clear the gradients."""
    if clip_norm is not None:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
