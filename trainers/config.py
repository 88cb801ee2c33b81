"""The whole configuration of a run: one frozen value, made once, passed down, never changed.

Each component owns its part; this file owns the composition, and the parts that belong to no component: data, engine,
run. The same dotted paths (`optim.lr`) serve YAML, command line, overrides and search spaces, and errors quote them.

Fields marked `placement` say where and how fast a run goes, never what it computes. They are left out of the
fingerprint, so a run may be resumed on another machine with other numbers of loaders; threads per worker stay in,
because they change the order of float32 sums.

Source: design of this project; the habit of components owning their config from torchtitan and axlearn.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from resight.cluster.errors import UserError
from resight.datasets.augment import AugmentConfig
from resight.datasets.sampler import SamplerConfig
from resight.trainers import schema
from resight.trainers.checks import at_least, within
from resight.trainers.methods.strong_baseline import StrongBaseline
from resight.trainers.methods.transreid import TransReID
from resight.trainers.models.resnet import ResNetConfig
from resight.trainers.models.vit import VitConfig
from resight.trainers.optim import OptimConfig, ScheduleConfig
from resight.trainers.overriding import replaced
from resight.trainers.yaml_text import read_yaml, write_yaml

__all__ = [
    "Config", "DataConfig", "EngineConfig", "RunConfig", "Size", "diff", "dump_yaml", "fingerprint", "from_dict",
    "load_yaml", "parse_yaml", "scratch", "to_dict", "with_overrides",
]  # fmt: skip

Size = Literal["paper", "small", "tiny"]
_PLACEMENT: Final = {"placement": True}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is trained on.

    Attributes:
        sources: data set folders, each "path" or "path:weight"; weights share out a batch's identities.
        val_ids: share of the training identities set aside by a hash of pid, in [0, 1).
        threads: decoding threads of each worker's loader.
    """

    sources: tuple[str, ...] = ()
    val_ids: float = 0.0
    threads: int = field(default=2, metadata=_PLACEMENT)

    def __post_init__(self) -> None:
        within("data.val_ids", self.val_ids, 0, 0.9)
        at_least("data.threads", self.threads, 1)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How a step is carried out.

    Attributes:
        kind: single process, ddp (replicated, any number of workers) or deepspeed (ZeRO).
        device: auto takes CUDA where there is one.
        threads: threads of each worker's CPU arithmetic; they order float32 sums, so they are part of the run.
        precision: arithmetic of the forward pass; bfloat16 is autocast over float32 weights, float64 is for proofs.
        memory_format: channels_last speeds up convolutions on tensor cores.
        compile: torch.compile the networks.
    """

    kind: Literal["single", "ddp", "deepspeed"] = field(default="single", metadata=_PLACEMENT)
    device: Literal["auto", "cpu", "cuda"] = field(default="auto", metadata=_PLACEMENT)
    threads: int = 1
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    compile: bool = False

    def __post_init__(self) -> None:
        at_least("engine.threads", self.threads, 1)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long a run goes and what it leaves behind.

    Attributes:
        epochs: passes of `sampler.steps_per_epoch` steps.
        checkpoint_every_epochs: a checkpoint is written after every so many epochs, and after the last.
        checkpoint_every_steps: and after so many steps within an epoch; None for none.
        keep_last: checkpoints kept; older ones are removed.
        keep_best: beside them, the checkpoint that validation found best by mAP.
        validate_every_epochs: the identities that `data.val_ids` sets aside are judged after every so many epochs, and
            after the last.
        log_every_steps: a step event is written every so many steps.
    """

    epochs: int
    checkpoint_every_epochs: int = field(default=1, metadata=_PLACEMENT)
    checkpoint_every_steps: int | None = field(default=None, metadata=_PLACEMENT)
    keep_last: int = field(default=2, metadata=_PLACEMENT)
    keep_best: bool = field(default=True, metadata=_PLACEMENT)
    validate_every_epochs: int = field(default=10, metadata=_PLACEMENT)
    log_every_steps: int = field(default=1, metadata=_PLACEMENT)

    def __post_init__(self) -> None:
        at_least("run.epochs", self.epochs, 1)
        at_least("run.checkpoint_every_epochs", self.checkpoint_every_epochs, 1)
        at_least("run.checkpoint_every_steps", self.checkpoint_every_steps or 1, 1)
        at_least("run.keep_last", self.keep_last, 1)
        at_least("run.validate_every_epochs", self.validate_every_epochs, 1)
        at_least("run.log_every_steps", self.log_every_steps, 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run, in full.

    Attributes:
        recipe: name of the recipe this came from.
        size: paper (as published), small (ablations) or tiny (tests and laptops).
        seed: of weights, batches and augmentation.
        data: what is trained on.
        sampler: what a logical batch is.
        augment: what happens to an image before the network sees it, in training and at test.
        model: the backbone.
        method: heads and losses.
        optim: the optimiser.
        schedule: the learning rate over time.
        engine: how a step is carried out.
        run: length, checkpoints and logs.
    """

    recipe: str
    size: Size
    seed: int = 0
    data: DataConfig
    sampler: SamplerConfig
    augment: AugmentConfig
    model: ResNetConfig | VitConfig
    method: StrongBaseline | TransReID
    optim: OptimConfig
    schedule: ScheduleConfig
    engine: EngineConfig
    run: RunConfig

    def __post_init__(self) -> None:
        within("seed", self.seed, 0, 2**63 - 1)


def to_dict(config: Config) -> schema.Tree:
    """Return `config` as dicts, lists and scalars; `from_dict` gives an equal config back."""
    return schema.plain(config)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Return the config that `tree` describes; `UserError` on unknown or missing keys and on wrong types."""
    return schema.build(Config, tree)


def with_overrides(config: Config, overrides: Mapping[str, Any]) -> Config:
    """Return `config` with the values at dotted paths replaced, e.g. {"optim.lr": 1e-3}; texts are read by type."""
    return from_dict(replaced(to_dict(config), overrides))


def diff(a: Config, b: Config, *, placement: bool = True) -> dict[str, tuple[Any, Any]]:
    """Return {dotted path: (value in a, value in b)} where they differ; `placement` False leaves placement out."""
    left, right = (_leaves(config, placement=placement) for config in (a, b))
    paths = dict.fromkeys([*left, *right])
    return {path: (left.get(path), right.get(path)) for path in paths if left.get(path) != right.get(path)}


def fingerprint(config: Config) -> str:
    """Return the sha256 of what decides the result; equal for configs that differ in placement only."""
    text = json.dumps(_leaves(config, placement=False), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def scratch(config: Config) -> Config:
    """Return `config` without pretrained weights, for networks that a checkpoint fills anyway."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weights=None))


def dump_yaml(config: Config) -> str:
    """Return the YAML text of `config`, in declared order."""
    return write_yaml(to_dict(config))


def parse_yaml(text: str, *, where: str = "") -> Config:
    """Return the config in a YAML text; `where` names its file in errors."""
    try:
        return from_dict(read_yaml(text, where=where))
    except UserError as error:
        if not where or error.where.startswith(where):
            raise
        raise UserError(error.problem, where=f"{where}: {error.where}", cure=error.cure) from error


def load_yaml(path: Path) -> Config:
    """Return the config in a YAML file, such as a run folder's `config.yaml`."""
    if not path.is_file():
        raise UserError(f"no config file at {path}", where=str(path), cure="give the config.yaml of a run folder")
    return parse_yaml(path.read_text(encoding="utf-8"), where=str(path))


def _leaves(value: Any, path: str = "", *, placement: bool) -> dict[str, Any]:
    """Return {dotted path: plain leaf}; tuples and mappings of scalars are leaves."""
    leaves: dict[str, Any] = {}
    for entry in dataclasses.fields(value):
        if entry.metadata.get("placement") and not placement:
            continue
        here, item = f"{path}{entry.name}", getattr(value, entry.name)
        if dataclasses.is_dataclass(item):
            leaves |= _leaves(item, f"{here}.", placement=placement)
        else:
            leaves[here] = schema.plain(item)
    return leaves
