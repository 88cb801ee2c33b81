"""`resight render`: make people from a seed."""

from dataclasses import asdict, dataclass
from typing import Literal

from resight.cli.place import Place

__all__ = ["Render"]


@dataclass(frozen=True, kw_only=True)
class Render:
    """Render a procedural world into data sets, one a split, with every label.

    The same world, seed and version give the same images, byte for byte. Starting the same command again continues.

    Examples:
      resight render --world micro --out data/micro
      resight render --world tiny --seed 1 --splits base --out data/tiny --workers 4
      resight render --world tiny --preview --out sheets
    """

    out: Place
    """Folder or s3://bucket/prefix to publish into; each split becomes a data set below it."""
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
    preview: bool = False
    """Render only a contact sheet of each split, into OUT/SPLIT.png."""
    json: bool = False
    """Print the data cards as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Render and publish."""
        from resight.cli.backends import pool_backend
        from resight.rendering.render import render_world
        from resight.terminal import ProgressView, show, show_json

        if self.preview:
            return self._preview()
        with ProgressView(quiet=self.quiet) as view, pool_backend(self.backend, self.workers) as backend:
            cards = render_world(
                self.world, seed=self.seed, out=self.out, splits=self.splits, backend=backend, progress=view
            )
        if self.json:
            show_json({card.name: asdict(card) for card in cards})
        else:
            for split in self.splits:
                show(self._below(split))
        return 0

    def _below(self, name: str) -> str:
        return f"{self.out.rstrip('/')}/{name}"

    def _preview(self) -> int:
        """Write the contact sheets."""
        from resight.cluster.storage import open_storage
        from resight.datasets.sheet import sheet_png
        from resight.rendering.preview import contact_sheet
        from resight.terminal import show

        storage = open_storage(self.out)
        for split in self.splits:
            picture = contact_sheet(self.world, seed=self.seed, split=split)
            storage.publish(sheet_png(picture), f"{split}.png")
            show(self._below(f"{split}.png"))
        return 0
