"""The report's drawings, as SVG text: matplotlib without a display, fonts and colours left to the page.

The same numbers give the same text (fixed hash salt, no date), so a report can be compared with an earlier one. A line
is drawn with at most `MOST_POINTS` points, means of equal runs of values, so the text does not grow with the run.
Colours become CSS variables, so that one drawing serves light and dark pages.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["COLOURS", "MOST_POINTS", "Line", "cmc_plot", "curve_plot", "smooth", "stack_plot", "thinned"]

Line = tuple[Sequence[float], Sequence[float]]
"""x and y, of equal length."""

MOST_POINTS: Final = 400

COLOURS: Final = ("#0b7a75", "#d1495b", "#edae49", "#30638e", "#8d6a9f", "#6b7786")
"""Of lines, in order; the page's variables --c0 to --c5."""

_INK, _MUTED, _GRID = "#1c2733", "#6b7785", "#e3e8ee"
_VARIABLES: Final = {_INK: "--ink", _MUTED: "--muted", _GRID: "--line"} | {
    colour: f"--c{place}" for place, colour in enumerate(COLOURS)
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "resight",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def curve_plot(
    title: str,
    lines: Mapping[str, Line],
    *,
    ylabel: str = "",
    exact: bool = False,
    share: bool = False,
) -> str:
    """Draw lines over training steps: the values faintly and their running mean boldly, or the values alone.

    Args:
        title: over the plot.
        lines: name -> (global step numbers, values).
        ylabel: of the vertical axis.
        exact: draw the values as they are, from 0, for schedules and scores.
        share: write the vertical axis in percent.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(2.6)
        for colour, (name, (steps, values)) in zip(COLOURS, lines.items(), strict=False):
            few, bold = thinned(steps, values), thinned(steps, values if exact else smooth(values))
            if not exact:
                axes.plot(*few, color=colour, alpha=0.25, linewidth=0.8)
            marker = "o" if len(steps) == 1 else ""
            axes.plot(*bold, color=colour, linewidth=1.8, label=name, marker=marker)
        axes.set(title=title, xlabel="step", ylabel=ylabel)
        axes.set_ylim(bottom=0 if exact else None)
        if share:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        if len(lines) > 1:
            figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
        return _svg(figure, f"{title} over training steps: {', '.join(lines)}")


def stack_plot(title: str, steps: Sequence[float], parts: Mapping[str, Sequence[float]], *, ylabel: str) -> str:
    """Draw parts of a whole over training steps, one above the other, as running means.

    Args:
        title: over the plot.
        steps: (n,) global step numbers.
        parts: name -> (n,) values, 0 or more.
        ylabel: of the vertical axis.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(2.6)
        columns = [thinned(steps, smooth(values)) for values in parts.values()]
        axes.stackplot(columns[0][0], *(values for _, values in columns), colors=COLOURS, labels=list(parts), alpha=0.8)
        axes.set(title=title, xlabel="step", ylabel=ylabel)
        axes.margins(x=0)
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
        return _svg(figure, f"{title} over training steps: {', '.join(parts)}")


def cmc_plot(title: str, lines: Mapping[str, Sequence[float]], *, ranks: int = 20, equal: bool = False) -> str:
    """Draw cumulative match curves: the share of queries with a correct image among the first k.

    Args:
        title: over the plot.
        lines: name -> CMC values from rank 1 on, fractions.
        ranks: how many ranks to show.
        equal: draw all lines alike; else the first one stands out.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(3.3)
        for position, (name, values) in enumerate(lines.items()):
            shown = list(values)[:ranks]
            colour, width = COLOURS[position % len(COLOURS)], 2.4 if position == 0 or equal else 1.4
            axes.plot(range(1, len(shown) + 1), shown, color=colour, linewidth=width, label=name)
        axes.set(title=title, xlabel="rank k", ylabel="queries answered", ylim=(0, 1.02), xlim=(1, ranks))
        axes.set_xticks([1, *range(5, ranks + 1, 5)])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        figure.legend(loc="outside lower center", ncols=3 if len(lines) < 6 else 2, fontsize=8.5)
        told = ", ".join(f"{name} {values[0]:.1%}" for name, values in lines.items())
        return _svg(figure, f"{title}, share of queries answered at rank 1: {told}")


def smooth(values: Sequence[float], *, share: float = 0.04) -> list[float]:
    """Return a trailing exponential mean over about `share` of the values, bias-corrected, NaN skipped."""
    keep = 1.0 - 1.0 / max(1.0, share * len(values))
    mean, weight, result = 0.0, 0.0, list[float]()
    for value in values:
        if math.isfinite(value):
            mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(mean / weight if weight else math.nan)
    return result


def thinned(steps: Sequence[float], values: Sequence[float], *, most: int = MOST_POINTS) -> tuple[list[float], ...]:
    """Return at most `most` points: the last step, and the mean value, of equal runs of points; NaN left out of it."""
    run = max(1, math.ceil(len(steps) / most))
    blocks = [slice(first, first + run) for first in range(0, len(steps), run)]
    return [float(steps[block][-1]) for block in blocks], [_mean(values[block]) for block in blocks]


def _mean(values: Sequence[float]) -> float:
    there = [value for value in values if math.isfinite(value)]
    return math.fsum(there) / len(there) if there else math.nan


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, told: str) -> str:
    """Return the drawing with page colours, without element names that other drawings share, and told in words."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r' id="[A-Za-z.]+\d*_\d+"', "", text[text.index("<svg") :])
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1)
