"""One worker: no process group, torch's own batch normalisation, nothing to synchronise.

Source: design of this project.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from resight.datasets.batch import Batch
from resight.trainers.config import EngineConfig
from resight.trainers.engines.cached import CachedLoss
from resight.trainers.engines.placing import apply_step, arithmetic, device_for, place_batch, place_module
from resight.trainers.engines.whole import WholeLoss
from resight.trainers.norm import connect

__all__ = ["SingleEngine"]


class SingleEngine:
    """An `Engine` of world 1.

    Args:
        config: device, precision and formats.
    """

    rank = 0
    world = 1
    group = None

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.device = device_for(config, 0)
        self._whole: WholeLoss | None = None
        self._cached: CachedLoss | None = None
        self._optimizer: Optimizer | None = None

    def place(self, module: nn.Module) -> None:
        """Move a module to the device; its batch statistics are its own."""
        place_module(module, self.config, self.device)
        connect(module, None)

    def prepare(
        self, whole: WholeLoss, optimizer: Optimizer, example: Callable[[], Batch], *, cached: bool = False
    ) -> Sequence[str]:
        """Take charge of the step; there is nothing to warm up."""
        self._whole, self._optimizer = whole, optimizer
        self._cached = CachedLoss(whole, self.config, self.device, self.world) if cached else None
        return ()

    def forward(self, chunks: Sequence[Batch], *, more: bool = False) -> dict[str, Tensor]:
        """Return the losses of the logical batch."""
        assert self._whole is not None, "prepare comes first"
        if self._cached is not None:
            return self._cached.forward(chunks)
        (batch,) = chunks
        with arithmetic(self.config, self.device):
            return self._whole(place_batch(batch, self.config, self.device))

    def backward(self, total: Tensor) -> None:
        """Add the gradient to the parameters'."""
        if self._cached is None:
            total.backward()
        else:
            self._cached.backward(total)

    def step(self, clip_norm: float | None) -> None:
        """Let the optimiser step, and clear the gradients."""
        assert self._optimizer is not None, "prepare comes first"
        apply_step(self._optimizer, clip_norm)

    def largest(self, *values: int) -> tuple[int, ...]:
        """Return the values: there is no other rank."""
        return values

    def barrier(self) -> None:
        """There is nobody to wait for."""
