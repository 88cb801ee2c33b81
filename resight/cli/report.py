"""`resight report`: one page to look at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html, one self-contained file, from a run folder.

    Examples:
      resight report runs/market
      resight report runs/market --out market.html
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder."""
    out: Path | None = None
    """Where to write; RUN/report.html when not given."""

    def run(self) -> int:
        """Write the page and print its path."""
        from resight.terminal import show
        from resight.trainers.report.page import write_report

        show(str(write_report(self.run_folder, out=self.out)))
        return 0
