"""Everything the program says on a terminal; nothing else prints.

Results go to standard output, so that `--json` can be piped; progress and errors go to standard error. On a terminal
progress is one live table, elsewhere (logs, CI) one plain line every few seconds. NO_COLOR and `--quiet` are respected.
"""

import json
import textwrap
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from resight.cluster.errors import UserError
from resight.cluster.progress import Step

__all__ = [
    "ProgressView", "show", "show_error", "show_interrupt", "show_json", "show_lines", "show_list", "show_note",
    "show_table",
]  # fmt: skip

PLAIN_EVERY_S = 10.0


def show(text: str = "") -> None:
    """Write a line to standard output, markup not interpreted."""
    Console(soft_wrap=True, highlight=False).print(text, markup=False)


def show_json(value: Mapping[str, object]) -> None:
    """Write one JSON object to standard output."""
    Console(soft_wrap=True).file.write(json.dumps(value, indent=2, sort_keys=True) + "\n")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a small table; the first column is left-aligned, the others right."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def show_list(rows: Sequence[tuple[str, str]]) -> None:
    """Write names and what they mean, in two columns."""
    table = Table.grid(padding=(0, 3))
    for name, meaning in rows:
        table.add_row(f"  [bold]{escape(name)}[/]", escape(meaning))
    Console(highlight=False).print(table)


def show_lines(mark: str, name: str, detail: str, cure: str) -> None:
    """Write one finding: a marked-up mark, its name and plain detail, then the cure on a line of its own."""
    console = Console(soft_wrap=True, highlight=False)
    _paragraph(console, f"{mark} [bold]{escape(name)}[/] " if name else f"{mark} ", detail)
    if cure:
        _paragraph(console, "     [green]cure[/] ", cure)


def show_note(text: str, details: Sequence[str] = ()) -> None:
    """Write something worth knowing to standard error, its details indented below."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    _paragraph(console, "[yellow]note:[/] ", "\n  ".join([text, *details]))


def show_error(error: UserError) -> None:
    """Explain a mistake the user can mend: value, place, cure."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    _paragraph(console, "[bold red]error:[/] ", error.problem)
    if error.where:
        _paragraph(console, "  [dim]where[/] ", error.where)
    if error.cure:
        _paragraph(console, "  [green]cure[/]  ", error.cure)


def show_interrupt(detail: str = "") -> None:
    """Say that the user stopped the program, and what is left of its work."""
    show_note(f"interrupted; {detail or 'the same command continues where it stopped'}")


class ProgressView:
    """Shows `Step`s of any number of tasks while it is open; itself a `Progress`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._tasks: dict[str, Step] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._ended: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Begin; the table is drawn from the first step on, so that an early error has the screen for itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def __call__(self, step: Step) -> None:
        """Take note of `step`."""
        now = time.monotonic()
        self._began.setdefault(step.task, (now, step.done))
        self._tasks[step.task] = step
        finished = step.done >= step.total
        if finished:
            self._ended.setdefault(step.task, now)
        if self._console.is_terminal and not self._quiet and self._live is None:
            self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._table)
            self._live.__enter__()
        if self._quiet or self._live is not None:
            return
        newly_finished = finished and self._said.get(step.task, 0.0) != float("inf")
        if newly_finished or now - self._said.get(step.task, 0.0) >= PLAIN_EVERY_S:
            self._said[step.task] = float("inf") if finished else now
            self._console.print(escape(self._line(step)), soft_wrap=True)

    def _line(self, step: Step) -> str:
        facts = "  ".join(f"{name} {_figure(value)}" for name, value in step.facts.items())
        return f"{step.task}: {step.done}/{step.total} {step.unit}  {self._pace(step)}  {facts}".rstrip()

    def _pace(self, step: Step) -> str:
        began, done_before = self._began[step.task]
        spent = self._ended.get(step.task, time.monotonic()) - began
        done = step.done - done_before
        if step.done >= step.total:
            return f"in {_duration(spent)}"
        return f"{_duration(spent * (step.total - step.done) / done)} left" if done > 0 else ""

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in self._tasks.values():
            bar = ProgressBar(total=max(step.total, 1), completed=step.done, width=24)
            facts = "  ".join(f"[dim]{name}[/] {_figure(value)}" for name, value in step.facts.items())
            table.add_row(
                f"[bold]{escape(step.task)}[/]", bar, f"{step.done}/{step.total} {step.unit}", self._pace(step), facts
            )
        return table


def _paragraph(console: Console, label: str, text: str) -> None:
    """Write a label and its text: wrapped between words under the text on a terminal, unbroken everywhere else."""
    first, *rest = text.split("\n")
    if console.is_terminal:
        indent = Text.from_markup(label).cell_len
        first = _wrapped(first, console.width, " " * indent)[indent:]
        rest = [_wrapped(line, console.width, "  ") for line in rest]
    console.print(label + _safe("\n".join([first, *rest])))


def _wrapped(line: str, width: int, indent: str) -> str:
    """Indent a line and break it between words; paths and options stay whole, so that they can be copied."""
    wrapper = textwrap.TextWrapper(width, indent, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(line.strip())


def _safe(text: str) -> str:
    """Escape markup, and bytes of file names that are no text."""
    return escape(text.encode("utf-8", "backslashreplace").decode())


def _figure(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
