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
      resight render --world small --splits base clothes --seed 0 --out data/small --workers 4
      resight render --splits all --out data/tiny
      resight render --world tiny --splits style --renderer pyrender --out data/gl
      resight render --world tiny --splits all --preview --out sheets
    """

    out: Place
    """Folder or s3://bucket/prefix to publish into; each split becomes a data set below it."""
    world: str = "tiny"
    """micro (40 people a split, tests), tiny (272, demo), small (1,100, ablations), medium (4,200, 300k images)."""
    seed: int = 0
    """Another seed is another population."""
    splits: tuple[str, ...] = ("base", "clothes")
    """base: same clothes, other cameras. clothes: query and gallery share no outfit. shape: bodies without clothes.
    occluded: things before the query. style: test cameras unlike the labelled ones. pose: people sit, reach and carry
    in the test. lowres: queries of few pixels. all: every split."""
    renderer: Literal["numba", "pyrender"] = "numba"
    """numba defines the bytes and needs no driver; pyrender needs OpenGL through EGL."""
    body: str = "anny"
    """anny, capsule (for tests), or a file of a body (.npz) of your own (`resight body --help`)."""
    workers: int = 2
    """Shards rendered at a time."""
    backend: Literal["local", "ray"] = "local"
    """local: processes of this machine, threads where there is little to render. ray: actors on the attached or a
    local cluster."""
    preview: bool = False
    """Render only contact sheets, PNG files in OUT: one of each split, one of people and outfits, one of shapes."""
    json: bool = False
    """Print the data cards as JSON."""
    quiet: bool = False
    """No progress."""

    def run(self) -> int:
        """Render and publish."""
        from resight.cli.backends import pool_backend
        from resight.rendering.render import render_world, worth_processes
        from resight.terminal import ProgressView, show, show_json

        if self.preview:
            return self._preview()
        splits = self._splits()
        many = worth_processes(self.world, splits)
        with (
            ProgressView(quiet=self.quiet) as view,
            pool_backend(self.backend, self.workers, processes=many) as backend,
        ):
            cards = render_world(
                self.world,
                seed=self.seed,
                out=self.out,
                splits=splits,
                renderer=self.renderer,
                body=self.body,
                backend=backend,
                progress=view,
            )
        if self.json:
            show_json({card.name: asdict(card) for card in cards})
        else:
            for split in splits:
                show(self._below(split))
        return 0

    def _below(self, name: str) -> str:
        return f"{self.out.rstrip('/')}/{name}"

    def _splits(self) -> tuple[str, ...]:
        """Return the names of the splits; `--splits base,clothes` is as good as `--splits base clothes`."""
        from resight.rendering.splits import SPLITS

        names = tuple(name for word in self.splits for name in word.split(",") if name)
        return tuple(SPLITS) if names == ("all",) else names

    def _preview(self) -> int:
        """Write the contact sheets."""
        from resight.cluster.storage import open_storage
        from resight.datasets.sheet import sheet_png
        from resight.rendering.bodies import find_body
        from resight.rendering.preview import contact_sheet, people_sheet, shape_sheet
        from resight.rendering.renderers import find_renderer
        from resight.terminal import show

        storage, body, draw = open_storage(self.out), find_body(self.body), find_renderer(self.renderer)
        for split in self._splits():
            picture = contact_sheet(self.world, seed=self.seed, split=split, body=body, draw=draw)
            storage.publish(sheet_png(picture), f"{split}.png")
            show(self._below(f"{split}.png"))
        storage.publish(sheet_png(people_sheet(self.seed, body=body, draw=draw)), "people.png")
        storage.publish(sheet_png(shape_sheet(body, draw=draw)), "shapes.png")
        show(self._below("people.png"))
        show(self._below("shapes.png"))
        return 0
