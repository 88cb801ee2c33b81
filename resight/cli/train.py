"""`resight train`: run a recipe.

The options of a recipe are the fields of its config, so the recipe's name is looked at first and tyro then parses the
whole line at once, with one help text and one "did you mean" for everything.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro

from resight.cli.place import Place
from resight.cluster.errors import UserError

if TYPE_CHECKING:
    from resight.trainers.config import Config

__all__ = ["Train", "parse_train"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a recipe; the same command again continues where it stopped.

    `resight train RECIPE --help` lists the recipe's own fields; each is an option, e.g. --optim.lr 7e-4.

    Examples:
      resight train strong_baseline --data data/market --out runs/market
      resight train strong_baseline --size tiny --data data/tiny/clothes data/tiny/base:0.5 --out runs/tiny --workers 2
      resight train --config runs/market/config.yaml --out runs/again
    """

    recipe: Annotated[str, tyro.conf.Positional] = ""
    """strong_baseline."""
    data: tuple[str, ...] = ()
    """Data sets to train on, each PATH or PATH:WEIGHT."""
    out: Place | None = None
    """The run folder, or s3://bucket/prefix."""
    size: Literal["paper", "small", "tiny"] = "paper"
    """paper: as published. small: for one GPU. tiny: the same code on small networks and images, for a laptop."""
    config: Path | None = None
    """A config.yaml instead of a recipe, such as every run folder has."""
    workers: int = 1
    """Processes that train together; the result does not depend on it."""
    backend: Literal["local", "ray"] = "local"
    """local: this process, or the ranks torchrun started. ray: Ray Train workers."""
    resume: Literal["auto", "never", "must"] = "auto"
    """auto: continue when the folder holds a run of the same config."""
    json: bool = False
    """Print the run's summary as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Refuse: a recipe is needed (with one, `parse_train` returns a `_Train`)."""
        raise UserError(
            "nothing to train: neither a recipe nor --config is given",
            where="resight train",
            cure="resight train strong_baseline --data DIR --out RUN",
        )


def parse_train(argv: Sequence[str]) -> "Train | _Train":
    """Parse the words after `train`, with the recipe's fields as options when a recipe or a config file is named."""
    named = bool(argv) and not argv[0].startswith("-")
    config_file = _value_of(argv, "--config")
    if not named and config_file is None:
        return tyro.cli(Train, args=list(argv), prog="resight train", description=_description(), config=_STYLE)
    default = _recipe(argv[0], _value_of(argv, "--size")) if named else _from_file(Path(str(config_file)))
    return _parse_with(default, argv)


_STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


def _description() -> str:
    return inspect.cleandoc(Train.__doc__ or "")


@dataclass(frozen=True)
class _Train:
    options: Train
    config: "Config"

    def run(self) -> int:
        """Train and print the run folder."""
        from resight.cluster.storage import absolute
        from resight.terminal import ProgressView, show, show_json, show_note
        from resight.trainers.train import train

        if self.options.out is None:
            raise UserError("no folder for the run", where="--out", cure="add --out runs/NAME")
        with ProgressView(quiet=self.options.quiet) as view:
            run = train(
                self.config,
                out=absolute(self.options.out),
                workers=self.options.workers,
                backend=self.options.backend,
                resume=self.options.resume,
                progress=view,
            )
        if not run.finished:
            show_note(f"told to stop; {run.stopped()}")
        if self.options.json:
            show_json({"run": run.place, "finished": run.finished, "checkpoint": str(run.latest() or "")})
        else:
            show(run.place)
        return 0


def _parse_with(default: "Config", argv: Sequence[str]) -> _Train:
    """Parse this verb's own options and the config's fields in one line; recipe and size are given by the former."""
    from resight.trainers.config import Config

    hints = get_type_hints(Config)
    values = {spec.name: getattr(default, spec.name) for spec in fields(Config) if spec.name not in ("recipe", "size")}
    own = ("options", tyro.conf.OmitArgPrefixes[Train], field(default_factory=lambda: Train(size=default.size)))
    parts = [(name, hints[name], field(default_factory=lambda value=value: value)) for name, value in values.items()]
    line: Any = tyro.cli(
        make_dataclass("Line", [own, *parts], frozen=True, kw_only=True),
        args=list(argv),
        prog="resight train",
        description=_description(),
        config=(*_STYLE, tyro.conf.AvoidSubcommands),
    )
    config = replace(default, **{name: getattr(line, name) for name in values})
    if line.options.data:
        config = replace(config, data=replace(config.data, sources=line.options.data))
    return _Train(line.options, config)


def _recipe(name: str, size: str | None) -> "Config":
    from resight.trainers.recipes import recipe

    return recipe(name, size or "paper")  # pyright: ignore[reportArgumentType] - tyro checks the choice


def _from_file(path: Path) -> "Config":
    from resight.trainers.config import load_yaml

    return load_yaml(path)


def _value_of(argv: Sequence[str], flag: str) -> str | None:
    for position, word in enumerate(argv):
        if word == flag and position + 1 < len(argv):
            return argv[position + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
