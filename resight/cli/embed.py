"""`resight embed`: from the pictures of a data set to a file of features."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from resight.cli.place import Place

__all__ = ["Embed"]


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Embed the images of a data set into one Parquet file, a row an image.

    The file says which model made it from which data. Starting the same command again continues; a file that is
    complete is left alone. It holds what people are recognised by: keep it as you keep their pictures.

    Examples:
      resight embed runs/market --data data/market --out market.parquet
      resight embed runs/market --data data/market --out gallery.parquet --splits gallery --workers 4 --backend ray
    """

    run_folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """A run folder, the s3://bucket/prefix of one, or one checkpoint's folder."""
    data: Place
    """The data set to embed: a folder, or s3://bucket/prefix."""
    out: Path
    """Parquet file to write."""
    splits: tuple[str, ...] = ()
    """Which of its splits: train, val, query, gallery; all when none is given."""
    checkpoint: Literal["newest", "best"] = "newest"
    """Of a run's checkpoints: the newest, or the one that validation found best (see --data.val-ids of train)."""
    workers: int = 1
    """Parts embedded at a time, each with a copy of the model."""
    backend: Literal["local", "ray"] = "local"
    """local: threads of this process. ray: actors on the attached or a local cluster."""
    json: bool = False
    """Print what the file says of itself as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Embed and publish."""
        from resight.cli.backends import pool_backend
        from resight.terminal import ProgressView, show, show_json
        from resight.trainers.gallery.extract import embed_data

        with ProgressView(quiet=self.quiet) as view, pool_backend(self.backend, self.workers) as backend:
            made = embed_data(
                self.run_folder,
                self.data,
                self.out,
                splits=self.splits,
                which=self.checkpoint,
                backend=backend,
                progress=view,
            )
        if self.json:
            show_json({"features": str(made.path), **asdict(made.card)})
        else:
            show(str(made.path))
        return 0
