"""How long work tells its story: plain values out, no drawing here.

Rooms call a `Progress` with what happened; the driver's terminal renderer (`resight/terminal.py`) decides whether that
becomes a live table, plain lines or nothing.
"""

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Progress", "Step", "silent"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A snapshot of one piece of long work.

    Attributes:
        task: what is being done, e.g. "render clothes".
        done: units finished, including those found already published.
        total: units in all.
        unit: the name of a unit, e.g. "shards" or "images".
        facts: further figures worth showing, e.g. {"epoch": 0, "loss": 6.5}; all of them are shown.
    """

    task: str
    done: int
    total: int
    unit: str = "units"
    facts: dict[str, float | int | str] = field(default_factory=dict[str, float | int | str])


class Progress(Protocol):
    """Receives snapshots, from one thread at a time."""

    def __call__(self, step: Step, /) -> None:
        """Take note of `step`."""
        ...


def silent(step: Step) -> None:
    """Ignore progress: for tests and for callers that show nothing."""
