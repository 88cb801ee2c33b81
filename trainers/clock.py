"""Where the time of a step goes, without making a device wait.

The time line is cut by marks, and each piece belongs to one part: that of the innermost `span` that is open. So parts
never overlap, and what waits for other ranks inside the backward pass is taken out of it. On CUDA a mark is an event
on the stream, looked at when the device has passed it: times are then those of the device's stream, and what runs
beside it on another stream, such as an all-reduce hidden behind the backward pass, costs nothing until it is waited
for.

Source: design of this project. Trade-off: kernels are not told apart, for which there is torch's profiler.
"""

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Protocol

import torch

__all__ = ["PARTS", "Clock", "cpu_mark", "cuda_mark", "waiting"]

PARTS: Final[tuple[str, ...]] = ("forward", "backward", "communication", "optimiser")
"""What engines tell apart; what is in none of them is the loop's own: data, events, checkpoints."""


class Mark(Protocol):
    """A point in time; `torch.cuda.Event` is one."""

    def query(self) -> bool:
        """Tell whether it has been passed."""
        ...

    def elapsed_time(self, end_event: Any, /) -> float:
        """Return the milliseconds from here to a later mark; both have been passed."""
        ...


class Clock:
    """Adds up the seconds of each part.

    Args:
        mark: takes the time; `cpu_mark` or `cuda_mark`.
    """

    def __init__(self, mark: Callable[[], "Mark"]) -> None:
        self._mark = mark
        self._open: list[str] = []
        self._pieces: deque[tuple[str, Mark, Mark]] = deque()
        self._last = mark()

    @contextmanager
    def span(self, part: str) -> Generator[None]:
        """Let the time inside the block belong to `part`, one of `PARTS`, except what inner spans take."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def enter(self, part: str) -> None:
        """Open a span; `leave` closes it."""
        self._cut()
        self._open.append(part)

    def leave(self) -> None:
        """Close the innermost span."""
        self._cut()
        self._open.pop()

    def read(self) -> dict[str, float]:
        """Return the seconds of each part since the last reading, as far as the device has come."""
        seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        while self._pieces and self._pieces[0][2].query():
            part, begin, end = self._pieces.popleft()
            seconds[part] += begin.elapsed_time(end) / 1000
        return seconds

    def _cut(self) -> None:
        now = self._mark()
        if self._open:
            self._pieces.append((self._open[-1], self._last, now))
        self._last = now


class _Moment(float):
    """A reading of the processor's clock, in seconds."""

    def query(self) -> bool:
        """It is past."""
        return True

    def elapsed_time(self, end_event: Any, /) -> float:
        """Return the milliseconds to `end_event`."""
        assert isinstance(end_event, _Moment), "marks of one clock are of one kind"
        return 1000 * (end_event - self)


def waiting(clock: Clock | None) -> AbstractContextManager[None]:
    """Return the span of something that other ranks are waited for in; None: nobody takes the time here."""
    return nullcontext() if clock is None else clock.span("communication")


def cpu_mark() -> Mark:
    """Return now."""
    return _Moment(time.perf_counter())


def cuda_mark() -> Mark:
    """Return the point that the current stream has reached when all it was given so far is done."""
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
