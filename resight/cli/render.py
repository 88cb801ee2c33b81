"""`resight render`: make people from a seed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Render"]


@dataclass(frozen=True, kw_only=True)
class Render:
    """Render a procedural world into data sets, one a split, with every label.

    The same world, seed and version give the same images, byte for byte. Starting the same command again continues.

    Examples:
      resight render --world micro --out data/micro
      resight render --world tiny --seed 1 --splits base --out data/tiny --workers 4
    """

    out: Path
    """Folder to publish into; each split becomes a data set in a folder of its own."""
    world: str = "tiny"
    """micro (40 people, tests), tiny (272 people a split, demo)."""
    seed: int = 0
    """Another seed is another population."""
    splits: tuple[str, ...] = ("base", "clothes")
    """base: same clothes, other cameras. clothes: query and gallery share no outfit."""
    workers: int = 2
    """Shards rendered at a time."""
    backend: Literal["local", "ray"] = "local"
    """local: threads of this process. ray: actors on the attached or a local cluster."""
    preview: Path | None = None
    """Write a contact sheet of the world to this PNG file instead of rendering it."""
    json: bool = False
    """Print the data cards as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Render and publish."""
        from resight.rendering.preview import preview_world
        from resight.rendering.render import render_world
        from resight.terminal import ProgressView, show, show_json

        if self.preview is not None:
            self.preview.parent.mkdir(parents=True, exist_ok=True)
            self.preview.write_bytes(preview_world(self.world, seed=self.seed, splits=self.splits))
            show(str(self.preview))
            return 0
        from resight.cli.backends import pool_backend

        with ProgressView(quiet=self.quiet) as view, pool_backend(self.backend, self.workers) as backend:
            cards = render_world(
                self.world, seed=self.seed, out=self.out, splits=self.splits, backend=backend, progress=view
            )
        if self.json:
            show_json({card.name: asdict(card) for card in cards})
        else:
            for split in self.splits:
                show(str(self.out / split))
        return 0
