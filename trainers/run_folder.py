"""The run folder: all that a run leaves behind, in one place, and what everything shown anywhere is a function of.

    config.yaml                the whole configuration; the run can be started from it
    environment.json           versions, machine, threads, commit, command line
    events.jsonl               what happened, one JSON object a line, by rank 0; events-01.jsonl ... by the others
    metrics.parquet            steps, epochs and validations of events.jsonl as a table, replayed steps once
    checkpoints/               0003-0000120/ ...: three epochs, 120 steps done
    tensorboard/  evaluations/<data set>/  report.html
    control/                   who writes here now (`lease.py`), and notes to the workers, such as the request to stop
    ray/                       what Ray Train keeps about its own attempts

Source: design of this project.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing
from resight.trainers import checkpoint as checkpoints
from resight.trainers.config import Config, dump_yaml, load_yaml

__all__ = ["RunFolder", "open_run"]

_EVENT: Final = '{"event":'


class RunFolder:
    """Names and reads what lies in a run folder.

    Args:
        path: the folder; it need not exist yet.
        url: where the run lies of which the folder is a working copy (`mirror.py`); "" when it is the run itself.
    """

    def __init__(self, path: Path, *, url: str = "") -> None:
        self.path = path.expanduser().absolute()
        self.place = url or str(self.path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def config_file(self) -> Path:
        """The configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def environment_file(self) -> Path:
        """Versions and machine of the latest start, JSON."""
        return self.path / "environment.json"

    @property
    def metrics_file(self) -> Path:
        """Steps and epochs as a table, Parquet."""
        return self.path / "metrics.parquet"

    @property
    def report_file(self) -> Path:
        """The page that shows the run."""
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's log folder."""
        return self.path / "tensorboard"

    @property
    def control(self) -> Path:
        """Notes from the driver to the workers."""
        return self.path / "control"

    def events_file(self, rank: int = 0) -> Path:
        """Where a rank writes its events."""
        return self.path / ("events.jsonl" if rank == 0 else f"events-{rank:02d}.jsonl")

    def evaluation(self, dataset: str) -> Path:
        """The folder of the evaluation on `dataset`."""
        return self.path / "evaluations" / dataset

    def config(self) -> Config:
        """Return the configuration; `UserError` when there is no run here."""
        if not self.config_file.is_file():
            raise UserError(
                "there is no run in this folder: it has no config.yaml",
                where=str(self.path),
                cure="give the folder that `resight train --out` wrote",
            )
        return load_yaml(self.config_file)

    def events(self, rank: int = 0) -> Iterator[dict[str, Any]]:
        """Yield a rank's events in order; lines torn by a crash are left out; `UserError` for what is none."""
        path = self.events_file(rank)
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                found = (_event(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))
                yield from (event for event in found if event is not None)

    def attempts(self) -> int:
        """Return how many times training was started here."""
        return sum(event["event"] in ("start", "resume") for event in self.events())

    @property
    def finished(self) -> bool:
        """Whether training reached its last epoch."""
        return any(event["event"] == "finish" for event in self.events())

    def latest(self) -> Path | None:
        """Return the newest committed checkpoint, or None."""
        found = checkpoints.committed(self.checkpoints)
        return found[-1] if found else None

    def best(self) -> Path | None:
        """Return the committed checkpoint that validation found best, or None."""
        return checkpoints.best(self.checkpoints)

    def stopped(self) -> str:
        """Return in words where a run was saved that was told to stop."""
        latest = self.latest()
        if latest is None:
            return "nothing was saved yet; the same command begins again"
        step = checkpoints.read_position(latest).step
        where = f"{self.place}/{self.checkpoints.name}/{latest.name}"
        return f"saved after step {step} in {where}; the same command goes on from there"

    def write_config(self, config: Config) -> None:
        """Write `config.yaml`."""
        _replace(self.config_file, dump_yaml(config))

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Write `environment.json`."""
        _replace(self.environment_file, json.dumps(facts, indent=1) + "\n")


def open_run(path: Path) -> RunFolder:
    """Return the run in `path`; `UserError` when there is none."""
    run = RunFolder(path)
    run.config()
    return run


def _event(line: str, where: str) -> dict[str, Any] | None:
    if not line.startswith(_EVENT[: len(line.rstrip())]):
        raise UserError(f"this line is not an event: {line[:40]!r}", where=where, cure="remove the line")
    try:
        return json.loads(line)
    except ValueError:  # its writer was killed within the line
        return None


def _replace(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one."""
    with writing(repr(path.name), path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{path.name}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
