"""`resight data ...`: which data sets can be packed, and a look at a packed one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from resight.cli.place import Place

if TYPE_CHECKING:
    from resight.datasets.dataset import Dataset

__all__ = ["Check", "List", "Sheet"]


@dataclass(frozen=True, kw_only=True)
class List:
    """List the data sets that `resight pack` reads: size as published, terms, whom to cite.

    Examples:
      resight data list
      resight data list --json
    """

    json: bool = False
    """Print everything known as JSON, sizes of the splits included."""

    def run(self) -> int:
        """Print the table."""
        from dataclasses import asdict

        from resight.datasets.readers import READERS
        from resight.findings import show_data_sets
        from resight.terminal import show_json

        known = {name: asdict(reader.about) for name, reader in READERS.items()}
        if self.json:
            show_json(known)
        else:
            show_data_sets(known)
        return 0


@dataclass(frozen=True, kw_only=True)
class Check:
    """Verify a data set: checksums, decoding, counts, duplicates, identities on both sides. Exit code 1 on problems.

    Shows images by camera and outfits by identity, compares the counts with those published, and lists bad files.

    Examples:
      resight data check data/market
      resight data check data/market --sheet market.png --json
    """

    path: Annotated[Place, tyro.conf.Positional]
    """A packed or rendered data set: the folder, or s3://bucket/prefix, that holds dataset.json."""
    sheet: Path | None = None
    """PNG file to draw a contact sheet into: ten people of the last split, ten images of each."""
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
            dataset = open_dataset(self.path)
            report = check(dataset, progress=view)
        if self.json:
            show_json(report.to_dict())
        else:
            show_data_report(report.to_dict())
        if self.sheet is not None:
            from resight.datasets.sheet import overview_rows

            _draw(dataset, self.sheet, *overview_rows(dataset))
        return 1 if report.problems else 0


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Draw a contact sheet: a row of crops for each of some identities.

    Examples:
      resight data sheet data/market --out market.png --ids 12
    """

    path: Annotated[Place, tyro.conf.Positional]
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
        from resight.datasets.dataset import open_dataset
        from resight.datasets.sheet import identity_rows
        from resight.terminal import show

        dataset = open_dataset(self.path)
        rows = identity_rows(dataset, split=self.split, ids=self.ids, per_id=self.per_id)
        _draw(dataset, self.out, rows, self.per_id)
        show(str(self.out))
        return 0


def _draw(dataset: "Dataset", out: Path, rows: Sequence[int], columns: int) -> None:
    from resight.cluster.storage import open_storage
    from resight.datasets.sheet import contact_sheet, sheet_png

    picture = contact_sheet(dataset, rows, columns=columns, by="outfit")
    open_storage(out.parent).publish(sheet_png(picture), out.name)
