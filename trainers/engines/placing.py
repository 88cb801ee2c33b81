"""What engines do alike: device, number format, memory format, compilation, the optimiser's step.

Source: design of this project.
"""

import torch
from torch import nn
from torch.optim import Optimizer

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.trainers.config import EngineConfig

__all__ = ["apply_step", "arithmetic", "device_for", "place_batch", "place_module"]


def device_for(config: EngineConfig, local_rank: int) -> torch.device:
    """Return the device of the worker that is number `local_rank` on its machine."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("engine.device is 'cuda', and torch sees no CUDA device", cure="set engine.device to auto")
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def place_module(module: nn.Module, config: EngineConfig, device: torch.device) -> None:
    """Move `module` to its device and formats, in place; state-dict names stay as they are."""
    dtype = torch.float64 if config.precision == "float64" else None
    module.to(device=device, dtype=dtype)
    if config.memory_format == "channels_last":
        module.to(memory_format=torch.channels_last)
    if config.compile:
        for network in module.children():
            network.compile()


def place_batch(batch: Batch, config: EngineConfig, device: torch.device) -> Batch:
    """Return `batch` on its device, the images in the number format of the networks."""
    return batch.to(device, dtype=torch.float64 if config.precision == "float64" else None)


def arithmetic(config: EngineConfig, device: torch.device) -> torch.autocast:
    """Return the context of a forward pass: bfloat16 autocast where the config asks for it, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16")


def apply_step(optimizer: Optimizer, clip_norm: float | None) -> None:
    """Clip the whole gradient's norm, let the optimiser step, clear the gradients."""
    if clip_norm is not None:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
