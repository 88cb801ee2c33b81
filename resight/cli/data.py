"""`resight data ...`: look at a packed data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

__all__ = ["Check", "Sheet"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Verify a data set: checksums, decoding, counts, duplicates, identities on both sides. Exit code 1 on problems.

    Examples:
      resight data check data/market
      resight data check data/market --json
    """

    path: Annotated[Path, tyro.conf.Positional]
    """A packed or rendered data set (the folder that holds dataset.json)."""
    json: bool = False
    """Print the findings as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Check and report."""
        from resight.datasets.check import check
        from resight.datasets.dataset import open_dataset
        from resight.findings import show_data_report
        from resight.terminal import ProgressView, show_json

        with ProgressView(quiet=self.quiet) as view:
            report = check(open_dataset(self.path), progress=view)
        if self.json:
            show_json(report.to_dict())
        else:
            show_data_report(report.to_dict())
        return 1 if report.problems else 0


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Draw a contact sheet: a row of crops for each of some identities.

    Examples:
      resight data sheet data/market --out market.png --ids 12
    """

    path: Annotated[Path, tyro.conf.Positional]
    """A packed or rendered data set."""
    out: Path
    """PNG file to write."""
    ids: int = 10
    """Identities shown, one a row."""
    per_id: int = 10
    """Images of each."""
    split: str = "gallery"
    """train, val, query or gallery."""

    def run(self) -> int:
        """Draw and write."""
        from resight.cluster.storage import open_storage
        from resight.datasets.dataset import open_dataset
        from resight.datasets.sheet import contact_sheet, identity_rows, sheet_png
        from resight.terminal import show

        dataset = open_dataset(self.path)
        rows = identity_rows(dataset, split=self.split, ids=self.ids, per_id=self.per_id)
        picture = contact_sheet(dataset, rows, columns=self.per_id, by="outfit")
        open_storage(self.out.parent).publish(sheet_png(picture), self.out.name)
        show(str(self.out))
        return 0
