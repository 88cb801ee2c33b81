"""The report's drawings, as SVG text: matplotlib without a display, fonts left to the page.

The same numbers give the same text (fixed hash salt, no date), so a report can be compared with an earlier one.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["cmc_plot", "curve_plot", "smooth"]

INK, MUTED, GRID = "#1c2733", "#6b7785", "#e3e8ee"
COLOURS = ("#0b7a75", "#d1495b", "#edae49", "#30638e", "#8d6a9f", "#6b7785")

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "resight",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def curve_plot(
    title: str, steps: Sequence[int], lines: Mapping[str, Sequence[float]], *, ylabel: str = "", exact: bool = False
) -> str:
    """Draw lines over training steps: the values faintly and their running mean boldly, or the values alone.

    Args:
        title: over the plot.
        steps: (n,) global step numbers.
        lines: name -> (n,) values.
        ylabel: of the vertical axis.
        exact: draw the values as they are, for schedules.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 2.6), layout="constrained")
        axes = figure.subplots()
        for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
            if not exact:
                axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(steps, values if exact else smooth(values), color=colour, linewidth=1.8, label=name)
        axes.set(title=title, xlabel="step", ylabel=ylabel)
        axes.set_ylim(bottom=0 if exact else None)
        if len(lines) > 1:
            axes.legend(loc="upper right", fontsize=9)
        return _svg(figure)


def cmc_plot(title: str, lines: Mapping[str, Sequence[float]], *, ranks: int = 20) -> str:
    """Draw cumulative match curves: the share of queries with a correct image among the first k.

    Args:
        title: over the plot.
        lines: name -> CMC values from rank 1 on, fractions.
        ranks: how many ranks to show.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.3), layout="constrained")
        axes = figure.subplots()
        for position, (name, values) in enumerate(lines.items()):
            shown = list(values)[:ranks]
            colour, width = COLOURS[position % len(COLOURS)], 2.4 if position == 0 else 1.4
            axes.plot(range(1, len(shown) + 1), shown, color=colour, linewidth=width, label=name)
        axes.set(title=title, xlabel="rank k", ylabel="queries answered", ylim=(0, 1.02), xlim=(1, ranks))
        axes.set_xticks([1, *range(5, ranks + 1, 5)])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
        return _svg(figure)


def smooth(values: Sequence[float], *, share: float = 0.04) -> list[float]:
    """Return a trailing exponential mean over about `share` of the values, bias-corrected, NaN skipped."""
    keep = 1.0 - 1.0 / max(1.0, share * len(values))
    mean, weight, result = 0.0, 0.0, list[float]()
    for value in values:
        if math.isfinite(value):
            mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(mean / weight if weight else math.nan)
    return result


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
