"""How fast a run is for what its device could do: operations an image, the device's peak, their ratio (MFU), memory.

    MFU = operations an image x images a second / (peak x workers)
    operations an image = 3 x those of the forward pass, 2 for each multiply-add

They are counted once, on tensors without content, from `method.features` of a real batch: what is computed again to
save memory does not count as work, and neither do heads and losses, which are below a percent of any real backbone.

Source: the definition of PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B) with counted operations; peaks from
the makers' data sheets, dense bfloat16 with float32 sums. Other precisions of a GPU are in no table: whether torch
takes TF32 for them depends on the operation, and a share of the wrong peak is worse than none.
"""

import resource
import sys
import time
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resight.datasets.batch import Batch
from resight.trainers.config import Config, EngineConfig
from resight.trainers.embedder import evaluating
from resight.trainers.methods.method import Method

__all__ = [
    "PEAK_TFLOPS",
    "Peak",
    "Speed",
    "operations_per_image",
    "peak_memory_mib",
    "peak_of",
    "published_peak",
    "speed_of",
]

PEAK_TFLOPS: Final[dict[str, float]] = {
    "A100": 312,
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
}
"""bfloat16 TFLOP/s by a part of the device's name; the first that fits counts."""

_SIDE: Final = 512
_TRIES: Final = 4
_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
Peak = tuple[float, str]
"""TFLOP/s, and where the figure is from."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What training an image takes, and what one worker's device could do; None for what is not known.

    Attributes:
        operations_per_image: of a forward and a backward pass.
        peak_tflops: 10^12 operations a second.
        peak_from: where that figure is from.
    """

    operations_per_image: float | None
    peak_tflops: float | None
    peak_from: str | None

    def share(self, world: int) -> float | None:
        """Return the share of the peak of `world` devices that one image a second takes."""
        if self.operations_per_image is None or self.peak_tflops is None:
            return None
        return self.operations_per_image / (self.peak_tflops * 1e12 * world)


def speed_of(method: Method, models: nn.ModuleDict, batch: Batch, config: Config, device: torch.device) -> Speed:
    """Return what is known; the arguments are those of `operations_per_image` and `peak_of`."""
    tflops, source = peak_of(config.engine, device) or (None, None)
    operations = operations_per_image(method, models, batch, config)
    return Speed(operations_per_image=operations, peak_tflops=tflops, peak_from=source)


def operations_per_image(method: Method, models: nn.ModuleDict, batch: Batch, config: Config) -> float | None:
    """Return the operations of one image's forward and backward pass; None where a method needs its images' content.

    Counted in evaluation mode, which a batch norm takes one image in.

    Args:
        method: whose features are counted.
        models: as they were built, not yet on a device.
        batch: this rank's part of some batch.
        config: of the run.
    """
    network = _Features(method, models, config)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    empty = {name: tensor.detach().to("meta") for name, tensor in tensors}
    dtype = next(network.parameters()).dtype
    try:
        with torch.no_grad(), evaluating(models), FlopCounterMode(display=False) as counter:
            torch.func.functional_call(network, empty, (batch.to("meta", dtype=dtype),))
    except (NotImplementedError, RuntimeError) as error:
        if "meta" in str(error).lower():  # torch's words when a value is asked for that is not there
            return None
        raise
    return 3 * counter.get_total_flops() / len(batch.slots)


def peak_of(config: EngineConfig, device: torch.device) -> Peak | None:
    """Return what one worker's device could do; None where nobody knows. On a CPU it is measured, in about 10 ms."""
    if config.peak_tflops is not None:
        return config.peak_tflops, "engine.peak_tflops"
    if device.type == "cpu":
        return _product_tflops(_DTYPES[config.precision]), f"measured: a product of {_SIDE} x {_SIDE} matrices"
    return published_peak(torch.cuda.get_device_name(device)) if config.precision == "bfloat16" else None


def published_peak(name: str) -> Peak | None:
    """Return the entry of `PEAK_TFLOPS` for a device's name."""
    words = name.replace("-", " ").split()
    part = next((part for part in PEAK_TFLOPS if set(part.split()) <= set(words)), None)
    return None if part is None else (PEAK_TFLOPS[part], f"published: {part}")


def peak_memory_mib(device: torch.device) -> float:
    """Return the most memory used so far: by torch on a CUDA device, by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


class _Features(nn.Module):
    """A method's features as a module, so that its tensors can be replaced."""

    def __init__(self, method: Method, models: nn.ModuleDict, config: Config) -> None:
        super().__init__()
        self.method = method
        self.models = models
        self.config = config

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the features."""
        return self.method.features(self.models, batch, self.config)


def _product_tflops(dtype: torch.dtype) -> float:
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    fastest = float("inf")
    for _ in range(_TRIES):
        begin = time.perf_counter()
        torch.mm(matrix, matrix)
        fastest = min(fastest, time.perf_counter() - begin)
    return 2 * _SIDE**3 / fastest / 1e12
