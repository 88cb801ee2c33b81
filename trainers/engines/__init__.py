"""How a step is spread over workers: the engines, by the name `engine.kind` has in a config."""

from collections.abc import Callable
from typing import Final

from resight.cluster.errors import UserError
from resight.trainers.config import EngineConfig
from resight.trainers.engines.ddp import DdpEngine
from resight.trainers.engines.engine import Engine
from resight.trainers.engines.single import SingleEngine

__all__ = ["ENGINES", "open_engine"]


def _single(config: EngineConfig, world: int, local_rank: int) -> Engine:
    if world > 1:
        raise UserError(
            f"engine.kind 'single' cannot use {world} workers", where="engine.kind", cure="set engine.kind to ddp"
        )
    return SingleEngine(config)


def _ddp(config: EngineConfig, world: int, local_rank: int) -> Engine:
    """One worker needs no DDP: its step is the same numbers without it."""
    return DdpEngine(config, local_rank) if world > 1 else SingleEngine(config)


def _deepspeed(config: EngineConfig, world: int, local_rank: int) -> Engine:
    raise UserError(
        "engine.kind 'deepspeed' is not there yet",
        where="engine.kind",
        cure="set engine.kind to ddp; it computes the same for any model that fits one device",
    )


ENGINES: Final[dict[str, Callable[[EngineConfig, int, int], Engine]]] = {
    "single": _single,
    "ddp": _ddp,
    "deepspeed": _deepspeed,
}


def open_engine(config: EngineConfig, *, world: int, local_rank: int = 0) -> Engine:
    """Return the engine that `config.kind` names.

    Args:
        config: kind, device, precision and formats.
        world: how many workers share a logical batch; above 1 the process group must be there.
        local_rank: this worker's number on its machine.

    Raises:
        UserError: when the kind cannot serve `world` workers, or is not there yet.
    """
    return ENGINES[config.kind](config, world, local_rank)
