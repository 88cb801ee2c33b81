"""What happens while training, as lines of JSON: written by every rank, read by everything that shows a run.

One object a line, appended and flushed at once, so that a killed worker loses nothing it said. Every event carries
the attempt (how many starts this folder has seen): steps replayed after a crash stand twice, and `metrics.parquet`
keeps the later one. Ray's own reports are throttled to a few a second, so they do not carry steps.

Every event but "error" has `epoch` and `step`. In "step" and "epoch" events `epoch` is the one they belong to, from
0; in "start", "resume", "validate", "checkpoint" and "finish" it is the number of whole epochs done. `step` is always
the number of optimiser steps done since the run began, so the first step's event says 1. A "validate" event has mAP,
mINP, rank1 (fractions) and queries, over all data sets and for each in `sets`.

Source: design of this project.
"""

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from resight.cluster.refusal import writing

__all__ = ["EventWriter", "curve", "write_metrics"]

_BLOCK: Final = 1 << 16


class EventWriter:
    """Appends events to one rank's file.

    Args:
        path: the file; its folder must exist.
        attempt: which start of the run this is, from 1.
        rank: who writes.
    """

    def __init__(self, path: Path, *, attempt: int, rank: int) -> None:
        self.attempt = attempt
        self.rank = rank
        self._path = path
        with writing(repr(path.name), path.parent):
            _drop_torn_line(path)
            self._file = path.open("ab", buffering=0)

    def write(self, event: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Append one event, stamped with time, attempt and rank; return it. Numbers that are not finite become null."""
        record = {"event": event, "time": time.time(), "attempt": self.attempt, "rank": self.rank, **facts}
        line = json.dumps(_finite(record), separators=(",", ":"), allow_nan=False) + "\n"
        with writing(repr(self._path.name), self._path.parent):
            rest = memoryview(line.encode())
            while rest:  # a disk that fills up takes the first part of a line, then says so
                rest = rest[self._file.write(rest) :]
        return record

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def curve(events: Iterable[Mapping[str, Any]], kind: str = "step") -> Iterator[Mapping[str, Any]]:
    """Yield the events of a kind by step, the latest attempt's where a step was replayed."""
    latest = {event["step"]: event for event in events if event["event"] == kind}
    return (latest[step] for step in sorted(latest))


def write_metrics(events: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write steps, epochs and validations as Parquet: one row an event, losses as columns `loss/<name>`."""
    every = list(events)
    rows = [_flat(event) for kind in ("step", "epoch", "validate") for event in curve(every, kind)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    temporary = path.with_name(f".tmp-{path.name}")
    with writing(repr(path.name), path.parent):
        pq.write_table(table, temporary)
        temporary.replace(path)


def _flat(event: Mapping[str, Any]) -> dict[str, Any]:
    losses = {f"loss/{name}": value for name, value in event.get("losses", {}).items()}
    return {**{name: value for name, value in event.items() if name not in ("losses", "sets")}, **losses}


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _drop_torn_line(path: Path) -> None:
    """Take away the half line that a crash left; ended instead, one cut after an inner brace would look whole."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - _BLOCK)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                file.truncate(begin + newline + 1)
                return
            end = begin
        file.truncate(0)
