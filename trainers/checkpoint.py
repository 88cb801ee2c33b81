"""Checkpoints: safetensors for what is a tensor, JSON for the rest, a manifest with sha256 last. Nothing is pickled.

A checkpoint is a folder `{epochs done:04d}-{steps done:07d}` with `model.safetensors` (the networks, under the names
of their state dicts), `optim.safetensors` (optimiser, method state, generator), `state.json` and `manifest.json`. It
is made under a temporary name, flushed, and renamed when its manifest is written: it is there whole, or not at all. A
folder that says it is committed and does not match its manifest is an error that names it, never skipped in silence.

Source: design of this project.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from resight.cluster.errors import UserError
from resight.trainers.optimizer_tensors import pack, unpack

__all__ = [
    "Moving", "Position", "best", "committed", "is_committed", "load", "load_models", "prune", "read_position",
    "read_state", "save", "sweep", "verify",
]  # fmt: skip

_MANIFEST: Final = "manifest.json"
_STATE: Final = "state.json"
_TMP: Final = ".tmp-"
_FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True, order=True)
class Position:
    """How far a run is.

    Attributes:
        epoch: whole epochs done.
        step: optimiser steps done since the run began.
    """

    epoch: int = 0
    step: int = 0

    @property
    def name(self) -> str:
        """The checkpoint folder's name; names sort as positions do."""
        return f"{self.epoch:04d}-{self.step:07d}"


@dataclass(frozen=True, kw_only=True)
class Moving:
    """Everything that moves while training.

    Attributes:
        models: the networks, teachers included.
        optimizer: over their trainable parameters.
        state: the method's explicit state.
    """

    models: nn.ModuleDict
    optimizer: Optimizer
    state: dict[str, Tensor]


def save(folder: Path, moving: Moving, position: Position, facts: Mapping[str, Any]) -> Path:
    """Write and commit a checkpoint.

    Args:
        folder: the run's `checkpoints` folder.
        moving: what to save.
        position: how far the run is.
        facts: JSON-able, kept in `state.json` (config, shape of the data, fingerprint).

    Returns:
        The committed checkpoint; one of the same position is replaced.
    """
    making = folder / f"{_TMP}{uuid.uuid4().hex}"
    making.mkdir(parents=True)
    tensors, settings = pack(moving.optimizer, moving.models)
    tensors |= {f"state/{name}": value for name, value in moving.state.items()}
    save_file(_owned(moving.models.state_dict()), making / "model.safetensors")
    save_file(_owned({**tensors, "generator": torch.get_rng_state()}), making / "optim.safetensors")
    _write_json(making / _STATE, {**facts, "position": asdict(position), "optimizer": settings})
    files = {path.name: _seal(path) for path in sorted(making.iterdir())}
    for name in files:
        _flush(making / name)
    _write_json(making / _MANIFEST, {"format": _FORMAT, "position": asdict(position), "files": files})
    _flush(making / _MANIFEST)
    target = folder / position.name
    _remove(target)
    making.rename(target)
    _flush(folder)
    return target


def load(checkpoint: Path, moving: Moving) -> None:
    """Fill `moving` from a checkpoint, in place, and torch's generator; `UserError` when anything does not match."""
    load_models(checkpoint, moving.models)
    tensors = load_file(checkpoint / "optim.safetensors")
    unpack(moving.optimizer, moving.models, tensors, read_state(checkpoint)["optimizer"])
    for name, value in moving.state.items():
        value.copy_(tensors[f"state/{name}"])
    torch.set_rng_state(tensors["generator"])


def load_models(checkpoint: Path, models: nn.ModuleDict) -> None:
    """Fill the networks only; `UserError` when a file was changed or names do not match."""
    verify(checkpoint)
    tensors = load_file(checkpoint / "model.safetensors")
    found, wanted = set(tensors), set(models.state_dict())
    if found != wanted:
        raise UserError(
            f"the checkpoint lacks {sorted(wanted - found)[:5]} and has {sorted(found - wanted)[:5]} too many",
            where=str(checkpoint),
            cure="load it with the config it was trained with",
        )
    models.load_state_dict(tensors)


def is_committed(checkpoint: Path) -> bool:
    """Tell whether a folder is a checkpoint that was written to its end."""
    return not checkpoint.name.startswith(_TMP) and (checkpoint / _MANIFEST).is_file()


def committed(folder: Path) -> list[Path]:
    """Return the committed checkpoints of a `checkpoints` folder, oldest first."""
    return sorted(filter(is_committed, folder.iterdir())) if folder.is_dir() else []


def verify(checkpoint: Path) -> None:
    """Check every file against the manifest; `UserError` names what differs."""
    for name, seal in _read_json(checkpoint / _MANIFEST)["files"].items():
        path = checkpoint / name
        if not path.is_file() or _seal(path) != seal:
            raise _damaged(path)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return `state.json`: facts, position and the optimiser's settings."""
    return _read_json(checkpoint / _STATE)


def read_position(checkpoint: Path) -> Position:
    """Return how far the run was."""
    return Position(**read_state(checkpoint)["position"])


def best(folder: Path) -> Path | None:
    """Return the committed checkpoint with the highest validation mAP, the earliest of equals; None for none."""
    judged = [(read_state(checkpoint).get("validation"), checkpoint) for checkpoint in committed(folder)]
    scored = [(found["mAP"], checkpoint) for found, checkpoint in judged if found]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def prune(folder: Path, keep: int, *, keep_best: bool) -> None:
    """Remove all but the `keep` newest committed checkpoints, and, where asked to, the best one."""
    spared = best(folder) if keep_best else None
    for checkpoint in committed(folder)[:-keep]:
        if checkpoint != spared:
            _remove(checkpoint)


def sweep(folder: Path) -> list[str]:
    """Remove what was never committed, as a crash leaves it; return the names."""
    if not folder.is_dir():
        return []
    leftovers = sorted(path for path in folder.iterdir() if path.is_dir() and not is_committed(path))
    for path in leftovers:
        shutil.rmtree(path)
    return [path.name for path in leftovers]


def _owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy to memory that nothing else shares, as safetensors wants it."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _damaged(path: Path) -> UserError:
    return UserError(
        f"checkpoint file {path.name!r} is missing or was changed after it was written",
        where=str(path),
        cure=f"delete {path.parent} to go on from the checkpoint before it",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _seal(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(checkpoint: Path) -> None:
    """Take the name away first: a folder half deleted must not look committed."""
    if checkpoint.exists():
        hidden = checkpoint.with_name(f"{_TMP}{uuid.uuid4().hex}")
        checkpoint.rename(hidden)
        shutil.rmtree(hidden)
