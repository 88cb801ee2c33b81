"""How a step is spread over workers: the engines, by the name `engine.kind` has in a config."""

from collections.abc import Callable
from typing import Final

from resight.cluster.errors import UserError
from resight.trainers.config import EngineConfig
from resight.trainers.engines.ddp import DdpEngine
from resight.trainers.engines.engine import Engine
from resight.trainers.engines.single import SingleEngine

__all__ = ["ENGINES", "check_engine", "open_engine"]


def _ddp(config: EngineConfig, world: int, local_rank: int) -> Engine:
    """One worker needs no DDP: its step is the same numbers without it."""
    return DdpEngine(config, local_rank) if world > 1 else SingleEngine(config)


ENGINES: Final[dict[str, Callable[[EngineConfig, int, int], Engine]]] = {
    "single": lambda config, world, local_rank: SingleEngine(config),
    "ddp": _ddp,
}
"""From (config, world, local rank) to an engine, by kind."""


def check_engine(config: EngineConfig, *, world: int) -> None:
    """Raise `UserError` when the engine that `config.kind` names cannot serve `world` workers, or is not there yet."""
    if config.kind not in ENGINES:
        raise UserError(
            f"engine.kind {config.kind!r} is not there yet",
            where="engine.kind",
            cure="set engine.kind to ddp; it computes the same for any model that fits one device",
        )
    if config.kind == "single" and world > 1:
        raise UserError(
            f"engine.kind 'single' cannot use {world} workers", where="engine.kind", cure="set engine.kind to ddp"
        )


def open_engine(config: EngineConfig, *, world: int, local_rank: int = 0) -> Engine:
    """Return the engine that `config.kind` names.

    Args:
        config: kind, device, precision and formats.
        world: how many workers share a logical batch; above 1 the process group must be there.
        local_rank: this worker's number on its machine.

    Raises:
        UserError: as `check_engine`.
    """
    check_engine(config, world=world)
    return ENGINES[config.kind](config, world, local_rank)
