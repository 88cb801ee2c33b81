"""The optimiser: which arithmetic, which parameters in which group.

Groups exist for what papers single out: another rate for biases (TransReID: twice), no weight decay for biases
(cross-domain strong baseline) or for everything with one dimension (DINO). Each group remembers `scale`, its factor on
the scheduled rate (`set_lr`), and the names of its parameters. Frozen parameters are in no group.

Source: Kingma and Ba 2015 (arXiv:1412.6980); weight decay of "adam" and "sgd" is added to the gradient, as the
re-identification papers do, that of "adamw" is decoupled (arXiv:1711.05101).
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

from resight.cluster.errors import UserError
from resight.trainers.checks import above, at_least, within
from resight.trainers.schedule import ScheduleConfig, lr_at_time

__all__ = ["OptimConfig", "ScheduleConfig", "lr_at", "make_optimizer", "set_lr"]

_LOOPS: Final[dict[str, dict[str, bool]]] = {
    "auto": {},
    "each": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Settings of the optimiser.

    Attributes:
        kind: adam, adamw or sgd.
        lr: the base learning rate, reached after warm-up.
        weight_decay: strength.
        betas: decay rates of Adam's two moments.
        momentum: of sgd.
        bias_lr_scale: factor on the learning rate of biases.
        undecayed: parameters without weight decay; vectors are all with one dimension: biases and norms.
        clip_norm: largest norm of the whole gradient; None clips nothing.
        loop: how the parameters are gone through: torch's choice (auto: each on a CPU, foreach on CUDA), one after the
            other (each), one operation at a time for all (foreach), or all in one kernel (fused). Their last digits
            differ.
    """

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 3.5e-4
    weight_decay: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    bias_lr_scale: float = 1.0
    undecayed: Literal["none", "biases", "vectors"] = "none"
    clip_norm: float | None = None
    loop: Literal["auto", "each", "foreach", "fused"] = "auto"

    def __post_init__(self) -> None:
        above("optim.lr", self.lr, 0)
        at_least("optim.weight_decay", self.weight_decay, 0)
        within("optim.momentum", self.momentum, 0, 1)
        for beta in self.betas:
            within("optim.betas", beta, 0, 0.999999)
        at_least("optim.bias_lr_scale", self.bias_lr_scale, 0)
        if self.clip_norm is not None:
            above("optim.clip_norm", self.clip_norm, 0)


def make_optimizer(models: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return the optimiser over every trainable parameter of `models`, in the order of their names in the module.

    Raises:
        UserError: when torch has no fused kernel for the device or number format of the parameters.
    """
    groups = [
        {
            "params": named,
            "lr": config.lr * scale,
            "weight_decay": decay,
            "scale": scale,
        }
        for (scale, decay), named in _grouped(models, config).items()
    ]
    if config.loop == "fused":
        _check_fused(models)
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, **_LOOPS[config.loop])
    kind = torch.optim.Adam if config.kind == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=config.betas, **_LOOPS[config.loop])


def lr_at(
    schedule: ScheduleConfig,
    config: OptimConfig,
    epoch: int,
    step: int = 0,
    *,
    steps_per_epoch: int = 1,
    scale: float = 1.0,
) -> float:
    """Return the learning rate of one step, a pure function.

    Args:
        schedule: its course.
        config: whose `lr` is the base rate.
        epoch: counted from 0.
        step: counted from 0 within the epoch.
        steps_per_epoch: steps in an epoch; they matter to schedules that change with every step.
        scale: the parameter group's factor on the base rate.
    """
    within_epoch = step / steps_per_epoch if schedule.change == "step" else 0.0
    return lr_at_time(schedule, config.lr, epoch + schedule.first + within_epoch, scale=scale)


def set_lr(
    optimizer: torch.optim.Optimizer,
    schedule: ScheduleConfig,
    config: OptimConfig,
    epoch: int,
    step: int = 0,
    *,
    steps_per_epoch: int = 1,
) -> float:
    """Give every group its learning rate for this step and return the base rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr_at(schedule, config, epoch, step, steps_per_epoch=steps_per_epoch, scale=group["scale"])
    return lr_at(schedule, config, epoch, step, steps_per_epoch=steps_per_epoch)


def _check_fused(models: nn.Module) -> None:
    for name, parameter in models.named_parameters():
        if not (parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda")):
            raise UserError(
                f"torch has no fused kernel for {name!r}, {parameter.dtype} on {parameter.device}",
                where="optim.loop",
                cure="set optim.loop to auto",
            )


def _grouped(models: nn.Module, config: OptimConfig) -> dict[tuple[float, float], list[tuple[str, nn.Parameter]]]:
    """Return {(lr scale, weight decay): named parameters}."""
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in models.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_settings(name, parameter, config), []).append((name, parameter))
    return groups


def _settings(name: str, parameter: nn.Parameter, config: OptimConfig) -> tuple[float, float]:
    is_bias = name.rpartition(".")[2] == "bias"
    spared = {"none": False, "biases": is_bias, "vectors": parameter.ndim <= 1}[config.undecayed]
    return (config.bias_lr_scale if is_bias else 1.0), (0.0 if spared else config.weight_decay)
