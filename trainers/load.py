"""Load a trained network for use: from a run folder, or from one of its checkpoints.

A checkpoint holds its configuration and the shape of its data, so it can be moved without its run folder.

Source: design of this project.
"""

from pathlib import Path
from typing import Literal

import torch

from resight.cluster.errors import UserError
from resight.trainers import checkpoint as checkpoints
from resight.trainers import schema
from resight.trainers.config import from_dict, scratch
from resight.trainers.embedder import Embedder
from resight.trainers.engines.placing import device_for
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape
from resight.trainers.mirror import newest_or_best, run_here
from resight.trainers.run_folder import RunFolder

__all__ = ["Which", "find_checkpoint", "load_embedder"]

Which = Literal["newest", "best"]


def load_embedder(path: Path | str, *, which: Which = "newest", flip: bool = False) -> Embedder:
    """Return the embedder of a run's newest or best checkpoint, or of the checkpoint that is given.

    Args:
        path: a run folder or a checkpoint folder, or the URL of one.
        which: of a run's checkpoints: the newest, or the one that validation found best.
        flip: see `Embedder`.

    Raises:
        UserError: when there is no such checkpoint, or it does not match its manifest.
    """
    with run_here(path, newest_or_best(which)) as run:
        return _load(find_checkpoint(run, which=which), flip=flip)


def _load(checkpoint: Path, *, flip: bool) -> Embedder:
    kept = checkpoints.read_state(checkpoint)
    config, shape = from_dict(kept["config"]), schema.build(DataShape, kept["shape"], path="shape")
    models = method_of(config).build(scratch(config), shape)
    models.to(
        device=device_for(config.engine, 0),
        dtype=torch.float64 if config.engine.precision == "float64" else None,
    )
    checkpoints.load_models(checkpoint, models)
    return Embedder(config, models, shape, flip=flip)


def find_checkpoint(path: Path, *, which: Which = "newest") -> Path:
    """Return the checkpoint that `path` is, or one of the run that it is; `UserError` when there is none."""
    path = path.expanduser().absolute()
    if checkpoints.is_committed(path):
        return path
    run = RunFolder(path)
    found = run.latest() if which == "newest" else run.best()
    if found is None and run.latest() is not None:
        raise UserError(
            "no checkpoint of this run was validated",
            where=str(path),
            cure="take the newest one, or train with --data.val-ids 0.1",
        )
    if found is None:
        raise UserError(
            "there is no checkpoint here", where=str(path), cure="give a run folder that has one, or train first"
        )
    return found
