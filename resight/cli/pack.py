"""`resight pack`: bring a data set that lies in folders into shards."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from resight.cli.place import Place

__all__ = ["Pack"]


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Pack a data set as its authors publish it, or a folder of your own crops, into shards with an index.

    Every image is decoded once to see that it is whole; bad ones are set aside, counted and listed. Nothing is
    re-encoded. Packing the same files twice gives the same bytes; starting the command again continues.

    Examples:
      resight pack market1501 ~/data/Market-1501-v15.09.15 --out data/market
      resight pack ltcc ~/data/LTCC_ReID --out data/ltcc    # resight data list: all names
      resight pack folder ~/photos --out data/mine          # folders PID/CAM/*.jpg, names PID_cCAM_*.jpg, or a CSV file
    """

    reader: Annotated[str, tyro.conf.Positional]
    """Which layout it has: a name that `resight data list` shows, e.g. market1501, or folder for your own crops."""
    root: Annotated[Path, tyro.conf.Positional]
    """The data set's folder, or for `folder` also a CSV file with pid, camid, path[, outfit, split]."""
    out: Place
    """Folder or s3://bucket/prefix to publish into."""
    name: str = ""
    """The data set's name; the reader's when empty."""
    licence: str = ""
    """The terms of the images, in words; the reader's when empty."""
    workers: int = 2
    """Shards packed at a time."""
    backend: Literal["local", "ray"] = "local"
    """local: threads of this process. ray: actors on the attached or a local cluster."""
    max_bad_share: float = 0.01
    """Stop when more than this share of the images cannot be read."""
    json: bool = False
    """Print the data card as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Pack and publish."""
        from resight.cli.backends import pool_backend
        from resight.datasets.pack import PackConfig, pack
        from resight.findings import show_left_out
        from resight.terminal import ProgressView, show, show_json

        with ProgressView(quiet=self.quiet) as view, pool_backend(self.backend, self.workers) as backend:
            config = PackConfig(max_bad_share=self.max_bad_share, name=self.name, licence=self.licence)
            card = pack(self.reader, self.root, self.out, config=config, backend=backend, progress=view)
        if not self.quiet:
            show_left_out(card)
        if self.json:
            show_json(asdict(card))
        else:
            show(self.out)
        return 0
