"""What a method is: a handful of functions, no control flow. The loop that calls them is `fit`, for every method alike.

    models = build(config, shape); state = initial_state(models, config, shape)
    each epoch:   relabel, where given: clusters -> label columns in the run folder -> the plan (`relabelling.py`)
    each step:    own = features(models, batch, config)             this rank's slice, (b, ...) tensors
                  whole = gather(own)                               (L, ...), the logical batch, on every rank
                  parts = losses(models, whole, batch, config, state)
                  sum(weights(config)[key] * part).backward(); optimiser step
                  update(models, state, config), where given
    at test:      embed(models, views, config); attend.maps(models, views, config), where given

Heads with batch statistics (BNNeck) live in `losses`, after the gathering: they see the whole logical batch on every
rank, so they are plain layers and the result is the same for any number of workers.
Source: design of this project; explicit state that goes in and out is the habit of JAX code.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from resight.datasets.batch import Batch
from resight.datasets.sources import Source

if TYPE_CHECKING:
    from resight.trainers.config import Config

__all__ = ["Attend", "DataShape", "Method", "Models", "Relabel", "State", "Views", "labels_of", "seeded"]

Models = nn.ModuleDict
"""One entry a network or head; methods with two networks or averaged copies have more."""

State = dict[str, Tensor]
"""What a method remembers beside parameters and buffers; checkpointed by name, changed in place. Mostly empty."""


@dataclass(frozen=True, kw_only=True)
class DataShape:
    """What heads must know of the data.

    Attributes:
        num_classes: training identities, K.
        num_cameras: cameras, numbered 0 to num_cameras - 1.
        height, width: of the network's input in pixels.
        cameras: name of each camera, "data set/camid", by number; () where nobody knows them.
    """

    num_classes: int
    num_cameras: int
    height: int
    width: int
    cameras: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Views:
    """What is embedded at test: images, and what is known of them besides.

    Attributes:
        images: (b, 3, H, W) resized and normalised.
        camids: (b,) cameras as `DataShape` numbers them; -1 for a camera that was not trained on, or not known.
    """

    images: Float[Tensor, "b 3 h w"]
    camids: Int64[Tensor, " b"]


Relabel = Callable[[Models, Sequence[Source], "Config", int], Mapping[int, np.ndarray]]
"""(models, sources, config, epoch) -> source number -> (c,) int64 labels of that source's `crops`, -1 for outliers.

Must return the same on every rank. Sources that are not named keep the labels they have."""


@dataclass(frozen=True, kw_only=True)
class Attend:
    """Where a network looks, for the pictures of a report.

    Attributes:
        legend: what brightness means, with its source, in one sentence.
        maps: (models in eval mode, views of b images, config) -> (b, h, w), 0 or more, on any grid that covers the
            image, in any unit; readers divide by each image's largest value.
    """

    legend: str
    maps: "Callable[[Models, Views, Config], Tensor]"


@dataclass(frozen=True, kw_only=True)
class Method:
    """The functions of one method.

    Attributes:
        build: (config, shape) -> models, a pure function: the same weights on every rank and every run.
        features: (models, batch, config) -> this rank's (b, ...) tensors by name.
        losses: (models, gathered features (L, ...), batch, config, state) -> unweighted scalars; keys name metrics.
        weights: config -> weight of each loss, same keys.
        embed: (models in eval mode, views of b images, config) -> (b, D), L2-normalised.
        initial_state: (models, config, shape) -> state.
        relabel: pseudo labels before an epoch, see `Relabel`; None where labels are given.
        update: (models, state, config) after each optimiser step, e.g. averaged copies; None where nothing follows.
        attend: where its networks look at test; None where there is no picture of it.
    """

    build: "Callable[[Config, DataShape], Models]"
    features: "Callable[[Models, Batch, Config], dict[str, Tensor]]"
    losses: "Callable[[Models, dict[str, Tensor], Batch, Config, State], dict[str, Tensor]]"
    weights: "Callable[[Config], dict[str, float]]"
    embed: "Callable[[Models, Views, Config], Tensor]"
    initial_state: "Callable[[Models, Config, DataShape], State]"
    relabel: "Relabel | None" = None
    update: "Callable[[Models, State, Config], None] | None" = None
    attend: Attend | None = None


def labels_of(batch: Batch) -> Tensor:
    """Return the (L,) class of each row of the logical batch, -1 where its identity may not be used."""
    return torch.where(batch.has_id, batch.labels, -1)


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Let the random numbers inside be a function of `seed` alone, and leave those outside as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
