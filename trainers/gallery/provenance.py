"""Which network made some features: features of two networks cannot be compared, and nothing in the numbers tells.

A network is known by the sha256 of its weights, which its checkpoint's manifest holds, and by the fingerprint of its
configuration, which decides how pictures are prepared for it. Where it lay is kept too, so that a search finds it.
Source: design of this project.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.cluster.storage import absolute, is_url
from resight.trainers import checkpoint as checkpoints
from resight.trainers.config import fingerprint, from_dict
from resight.trainers.mirror import run_here, without_tensors
from resight.trainers.run_folder import RunFolder

__all__ = ["Model", "find_model", "identify"]

_WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One network.

    Attributes:
        checkpoint: where its checkpoint lay, an absolute path.
        sha256: of its weights, 64 hex digits.
        fingerprint: of the configuration it was trained with, 64 hex digits.
        dim: length of its feature vectors.
    """

    checkpoint: str
    sha256: str
    fingerprint: str
    dim: int

    def same_as(self, other: "Model") -> bool:
        """Tell whether features of both can be compared; where they lie does not matter."""
        ours, theirs = (self.sha256, self.fingerprint, self.dim), (other.sha256, other.fingerprint, other.dim)
        return ours == theirs

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.checkpoint} (sha256 {self.sha256[:12]}, {self.dim} numbers an image)"


def identify(checkpoint: Path, *, dim: int) -> Model:
    """Return the network of a committed checkpoint; UserError when its files cannot be read."""
    config = from_dict(checkpoints.read_state(checkpoint)["config"])
    sha256 = _weights_sha256(checkpoint)
    return Model(checkpoint=str(checkpoint), sha256=sha256, fingerprint=fingerprint(config), dim=dim)


def find_model(model: Model, given: str | Path | None = None) -> str:
    """Return the folder or URL of the checkpoint that holds exactly these weights.

    Args:
        model: whose features are to be compared with.
        given: a run folder or the URL of one, all of whose checkpoints are looked at, or one checkpoint; None: where
            the model lay when the features were made, or another checkpoint of that run.

    Raises:
        UserError: when none of them has these weights.
    """
    place = model.checkpoint if given is None else absolute(given)
    run = place if given is not None else os.path.dirname(os.path.dirname(place))
    with run_here(run if is_url(run) else place, without_tensors) as here:
        folders = [here] if given is not None or is_url(run) else [here, here.parent.parent]
        found = [checkpoint for folder in folders for checkpoint in _checkpoints(folder)]
        for checkpoint in found:
            if identify(checkpoint, dim=model.dim).same_as(model):
                return f"{run}{str(checkpoint).removeprefix(str(here))}" if is_url(run) else str(checkpoint)
    if found:
        problem = f"{'no checkpoint here is' if len(found) > 1 else 'this checkpoint is not'} the model of the index"
        cure = f"give the run that made the features, {model}, or embed the data sets again with this one"
    else:
        problem = "the model that made the features is not here"
        cure = f"give its run folder with --run; it is the one with the weights {model.sha256[:12]}"
    raise UserError(problem, where=place, cure=cure)


def _checkpoints(place: Path) -> list[Path]:
    """Return the checkpoint that this is, or those of the run that this is, newest first."""
    if checkpoints.is_committed(place):
        return [place]
    return checkpoints.committed(RunFolder(place).checkpoints)[::-1]


def _weights_sha256(checkpoint: Path) -> str:
    path = checkpoint / "manifest.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["files"][_WEIGHTS]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = f"delete {checkpoint}, and take another checkpoint"
        raise UserError("the checkpoint's manifest cannot be read", where=str(path), cure=cure) from error
