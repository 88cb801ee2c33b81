"""An optimiser's state as named tensors and plain settings, and back: what checkpoints need to do without pickle.

Tensors are named after the parameters they belong to, so a checkpoint can be read by eye and does not depend on how
parameters are numbered.

Source: design of this project; torch's `Optimizer.load_state_dict` does the casting.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from resight.cluster.errors import UserError

__all__ = ["pack", "unpack"]

_PREFIX: Final = "optim/"


def pack(optimizer: Optimizer, models: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state's tensors, named `optim/<parameter>/<entry>`, and what is left of it as JSON-able settings."""
    names = _names(models)
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for parameter, entries in optimizer.state.items():
        for entry, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{_PREFIX}{names[id(parameter)]}/{entry}"] = value
            else:
                values.setdefault(names[id(parameter)], {})[entry] = value
    groups = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.state_dict()["param_groups"]
    ]
    return tensors, {"groups": groups, "members": _members(optimizer, names), "values": values}


def unpack(optimizer: Optimizer, models: nn.Module, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Fill `optimizer` with what `pack` returned; other tensors are passed over.

    Raises:
        UserError: when the parameters are not grouped as they were.
    """
    members = _members(optimizer, _names(models))
    if members != settings["members"]:
        raise UserError("the checkpoint's optimiser has other parameters", cure="go on with the config it began with")
    numbers = {name: number for number, name in enumerate(name for group in members for name in group)}
    state: dict[int, dict[str, Any]] = {numbers[name]: dict(values) for name, values in settings["values"].items()}
    for key, value in tensors.items():
        if key.startswith(_PREFIX):
            name, _, entry = key.removeprefix(_PREFIX).rpartition("/")
            state.setdefault(numbers[name], {})[entry] = value
    groups = [
        {**group, "params": [numbers[name] for name in names]}
        for group, names in zip(settings["groups"], members, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    _lay_out(optimizer)


def _lay_out(optimizer: Optimizer) -> None:
    """Give each tensor of a parameter's shape its parameter's memory format, as a fresh optimiser does.

    Checkpoints are contiguous, parameters may be channels_last, and fused kernels go through both in memory's order.
    """
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _names(models: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in models.named_parameters()}


def _members(optimizer: Optimizer, names: Mapping[int, str]) -> list[list[str]]:
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
