"""Replicated networks, one logical batch: torch's DistributedDataParallel around the whole step.

Every rank computes the whole loss on gathered features, so the ranks' gradients sum to `world` times the exact one
and DDP's mean is exact (`gather.py`). Buffers are equal on all ranks by construction (`norm.py`), so DDP does not
send them.

DDP rebuilds its buckets after the first backward, which changes the order of sums: from three ranks on, a resumed run
would differ in the last bits. So two throw-away passes come first, and parameters, buffers and generators are put back.
The same passes tell which parameters get no gradient; DDP is then told to look for such parameters, which costs a walk
of the graph a step, instead of waiting for them for ever.

Source: Li et al. 2020, arXiv:2006.15704 (buckets); the cure was measured in this project.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from resight.datasets.batch import Batch
from resight.trainers.config import EngineConfig
from resight.trainers.engines.cached import CachedLoss, mean_gradients
from resight.trainers.engines.placing import apply_step, arithmetic, device_for, place_batch, place_module
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.norm import connect

__all__ = ["DdpEngine"]


class DdpEngine:
    """An `Engine` over the ranks of the default process group, which must be there.

    Args:
        config: device, precision and formats.
        local_rank: this worker's number on its machine.
    """

    def __init__(self, config: EngineConfig, local_rank: int) -> None:
        assert dist.is_initialized(), "a context starts the process group before the engine"
        assert dist.group.WORLD is not None, "the default group exists once it is initialised"
        self.config = config
        self.group = dist.group.WORLD
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.device = device_for(config, local_rank)
        self._whole: WholeLoss | None = None
        self._wrapped: DistributedDataParallel | None = None
        self._cached: CachedLoss | None = None
        self._optimizer: Optimizer | None = None

    def place(self, module: nn.Module) -> None:
        """Move a module to the device and join its batch statistics over the ranks."""
        place_module(module, self.config, self.device)
        connect(module, self.group)

    def prepare(
        self, whole: WholeLoss, optimizer: Optimizer, example: Callable[[], Batch], *, cached: bool = False
    ) -> Sequence[str]:
        """Wrap, warm up, put everything back; return the names of parameters without a gradient.

        With gradient caching DDP is left out, and with it the warming up: heads and networks get their gradients in
        different backward passes, which its buckets cannot follow.
        """
        self._whole, self._optimizer = whole, optimizer
        if cached:
            self._cached = CachedLoss(whole, self.config, self.device, self.world)
            return ()
        batch = place_batch(example(), self.config, self.device)
        weights, state = copy.deepcopy((whole.state_dict(), whole.state))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            idle = self._without_gradient(whole, batch)
            self._wrapped = DistributedDataParallel(
                whole, forward_sync_buffers=False, find_unused_parameters=bool(idle)
            )
            for _ in range(2):
                self._pass(self._wrapped, batch)
        whole.load_state_dict(weights)
        whole.state.update(state)
        optimizer.zero_grad(set_to_none=True)
        return idle

    def forward(self, chunks: Sequence[Batch], *, more: bool = False) -> dict[str, Tensor]:
        """Return the losses of the logical batch, the same on every rank."""
        if self._cached is not None:
            return self._cached.forward(chunks)
        assert self._wrapped is not None, "prepare comes first"
        (batch,) = chunks
        with arithmetic(self.config, self.device), self._wrapped.no_sync() if more else nullcontext():
            return self._wrapped(place_batch(batch, self.config, self.device))

    def backward(self, total: Tensor) -> None:
        """Add the gradient; the last before `step` brings the ranks' mean, which is the exact one."""
        if self._cached is None:
            total.backward()
        else:
            self._cached.backward(total)

    def step(self, clip_norm: float | None) -> None:
        """Let the optimiser step, the same on every rank, and clear the gradients."""
        assert self._whole is not None, "prepare comes first"
        assert self._optimizer is not None, "prepare comes first"
        if self._cached is not None:
            mean_gradients(self._whole, self.group)
        apply_step(self._optimizer, clip_norm)

    def largest(self, *values: int) -> tuple[int, ...]:
        """Return each value's maximum over the ranks: one small all-reduce."""
        numbers = torch.tensor(values, dtype=torch.int64, device=self.device)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=self.group)
        return tuple(numbers.tolist())

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.largest(0)

    def _without_gradient(self, whole: WholeLoss, batch: Batch) -> list[str]:
        self._pass(whole, batch)
        idle = [name for name, value in whole.named_parameters() if value.requires_grad and value.grad is None]
        whole.zero_grad(set_to_none=True)
        return idle

    def _pass(self, module: nn.Module, batch: Batch) -> None:
        with arithmetic(self.config, self.device):
            losses = module(batch)
        torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum().backward()
