"""`resight demo`: from nothing to a judged model and a page to look at, in one command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Demo"]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Render people, train a small model on two Ray Train workers, judge it on people it never saw, write a report.

    Needs no download, account or GPU; a few minutes on two cores. Exit code 1 when the trained model does not beat
    chance, an untrained network, colour histograms and silhouettes on people who changed their clothes.

    Examples:
      resight demo
      resight demo --seed 1 --out demo-1
    """

    out: Path = Path("demo")
    """Folder for the data, the run and the report."""
    seed: int = 0
    """Seed of the population and of the training."""
    workers: int = 2
    """Processes that train, and that render."""
    size: Literal["tiny", "micro"] = "tiny"
    """tiny: the demo. micro: the same steps on 40 people and two epochs, to see that everything runs."""
    json: bool = False
    """Print the outcome as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Render, train, judge and report."""
        from resight.cli.demo_steps import run_demo
        from resight.findings import show_verdict
        from resight.terminal import ProgressView, show, show_json

        with ProgressView(quiet=self.quiet) as view:
            outcome = run_demo(self.out.absolute(), seed=self.seed, workers=self.workers, size=self.size, progress=view)
        if self.json:
            show_json(outcome.to_dict())
        else:
            show_verdict(outcome.to_dict())
            show(str(outcome.report))
        return 0 if outcome.holds else 1
