"""`resight report`: one page to look at, about one run or about several side by side."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from resight.cluster.errors import UserError

if TYPE_CHECKING:
    from resight.trainers.report.speed import Price

__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one self-contained page from a run folder, or one that puts several runs side by side.

    Examples:
      resight report runs/market
      resight report runs/market --price 2.50 --currency EUR
      resight report runs/market runs/other --out both.html
    """

    run_folders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(name="runs", metavar="RUN [RUN ...]")]
    """Run folders, also s3://bucket/prefix; with more than one, the first is what the others are compared with."""
    out: Path | None = None
    """Where to write; else RUN/report.html, or compare-A-B.html in the working directory."""
    price: float | None = None
    """What one worker costs an hour; the page then tells what the run cost."""
    currency: str = ""
    """Of the price."""
    json: bool = False
    """Print the page's figures as JSON, its path among them."""

    def run(self) -> int:
        """Write the page and print its path."""
        from resight.cluster.storage import is_url
        from resight.terminal import show, show_json
        from resight.trainers.mirror import run_here, without_tensors
        from resight.trainers.report.page import summary, write_report
        from resight.trainers.report.run_view import read_run
        from resight.trainers.report.side_by_side import compared_summary, write_comparison

        price, folders = self._price(), self.run_folders
        if not folders:
            raise UserError("no run is given", where="resight report", cure="resight report runs/NAME")
        with ExitStack() as stack:
            runs = [stack.enter_context(run_here(place, without_tensors)) for place in folders]
            if len(runs) == 1:
                path = write_report(runs[0], out=self.out, price=price)
                figures = summary(read_run(runs[0]), price=price) if self.json else {}
            else:
                path = write_comparison(runs, out=self.out, price=price)
                figures = compared_summary([read_run(run) for run in runs], price=price) if self.json else {}
        place = f"{folders[0]}/{path.name}" if is_url(folders[0]) and path.parent == runs[0] else str(path)
        if self.json:
            show_json({"report": place, **figures})
        else:
            show(place)
        return 0

    def _price(self) -> "Price | None":
        from resight.trainers.report.speed import Price

        if self.price is None and self.currency:
            raise UserError("a currency needs a price", where="--currency", cure="add --price PER_WORKER_HOUR")
        return None if self.price is None else Price(per_worker_hour=self.price, currency=self.currency)
