"""What all pages share: templates, how figures are written, and how a page is published.

What comes from data is escaped by the templates; only our own drawings and style sheet go in as they are.
"""

import json
from pathlib import Path
from typing import Any

import jinja2

from resight.cluster.storage import open_storage
from resight.trainers.report.plots import COLOURS
from resight.trainers.report.speed import Attempt, Price

__all__ = ["fill", "hours", "in_words", "money", "publish"]


def fill(template: str, **values: Any) -> str:
    """Return the HTML of a template of this folder."""
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "percent": lambda value: f"{100 * value:.1f}",
        "signed": lambda value: f"{100 * value:+.1f}",
        "words": in_words,
        "seconds": _seconds,
    }
    page = environment.get_template(template)
    return page.render(style=(here / "page.css").read_text(), colours=range(len(COLOURS)), **values)


def publish(html: str, target: Path) -> Path:
    """Write a page so that a reader sees the old one or the new one; return its absolute path."""
    target = target.absolute()
    open_storage(target.parent).publish(html.encode(), target.name)
    return target


def in_words(value: Any) -> str:
    """Return a value of a config or an environment as a reader writes it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(_short(value), ensure_ascii=False)


def hours(attempts: list[Attempt]) -> float:
    """Return the worker hours of all attempts."""
    return sum(attempt.worker_hours for attempt in attempts)


def money(attempts: list[Attempt], price: Price | None) -> str:
    """Return what the worker hours cost; empty where no price was given."""
    if price is None:
        return ""
    return f"{hours(attempts) * price.per_worker_hour:,.2f} {price.currency}".rstrip()


def _short(value: Any) -> Any:
    """Round floats to six digits, wherever they stand: a third is not written with sixteen."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 90:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"
