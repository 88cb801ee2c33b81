"""What the world consists of: sizes, splits, who is seen when by which camera, and how images are cut into shards.

What: pure enumeration; nothing is drawn or rendered here. A *split* is a question asked of the world (`base`: the
same clothes seen by other cameras; `clothes`: other clothes); a *part* is train, val, query or gallery inside one.
Why: sizes, query rules and shard boundaries decide what a benchmark measures, so they stand in one place that can be
read in one go. Source: design of this project; query and gallery as in Zheng et al. 2015 (Market-1501): the rule that
drops the query's own camera is applied by the judge. Trade-off: splits share cameras but never people, so a cue
learnt in one split about a person is worth nothing in another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from resight.cluster.errors import UserError, did_you_mean
from resight.cluster.units import Unit
from resight.datasets.records import Split
from resight.rendering.draws import VERSION

__all__ = [
    "PARTS",
    "SPLITS",
    "WORLDS",
    "ImageSpec",
    "Layout",
    "World",
    "find_split",
    "find_world",
    "identities",
    "images",
    "units",
]

PARTS: Final[tuple[Split, ...]] = ("train", "val", "query", "gallery")

IMAGES_PER_SHARD: Final = 768
"""Aim for the number of images in a shard; a shard holds whole identities."""

PID_STRIDE: Final = 100_000
"""Identities of split `code` are code x PID_STRIDE + number, so no two splits share a person."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one split shows its people.

    Attributes:
        name: of the split.
        code: makes the identities' numbers; never 0, which some protocols read as a distractor.
        outfits: of each person.
        frames: images of each outfit by each camera.
        query_by: an image is a query when its "frame" or its "outfit" is number 0; all others are gallery.
    """

    name: str
    code: int
    outfits: int
    frames: int
    query_by: str


SPLITS: Final[dict[str, Layout]] = {
    "base": Layout(name="base", code=1, outfits=1, frames=6, query_by="frame"),
    "clothes": Layout(name="clothes", code=2, outfits=3, frames=2, query_by="outfit"),
}


@dataclass(frozen=True, kw_only=True)
class World:
    """A size of the world: how many people of each kind, and how many cameras.

    Attributes:
        name: e.g. "tiny".
        train: identities to learn from.
        val: identities to choose by.
        test: identities in query and gallery.
        cameras: that see everybody.
        height: of every image, pixels.
        width: of every image, pixels.
        version: of the world (`rendering.draws.VERSION`).
    """

    name: str
    train: int
    val: int
    test: int
    cameras: int
    height: int = 128
    width: int = 64
    version: int = VERSION


WORLDS: Final[dict[str, World]] = {
    "micro": World(name="micro", train=16, val=8, test=16, cameras=2),
    "tiny": World(name="tiny", train=192, val=32, test=48, cameras=4),
}


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """One image: all that its pixels depend on beside the seed and the world's version."""

    pid: int
    outfit: int
    wardrobe: int
    camera: int
    frame: int
    height: int
    width: int

    @property
    def key(self) -> str:
        """The sample's key: stable, and sorted by identity."""
        return f"{self.pid:06d}_o{self.outfit}_c{self.camera:02d}_f{self.frame:02d}"


def find_world(name: str) -> World:
    """Return the world called `name`.

    Raises:
        UserError: when there is none.
    """
    if name not in WORLDS:
        raise UserError(f"there is no world {name!r}", where="--world", cure=did_you_mean(name, WORLDS))
    return WORLDS[name]


def find_split(name: str) -> Layout:
    """Return the split called `name`.

    Raises:
        UserError: when there is none.
    """
    if name not in SPLITS:
        raise UserError(f"there is no split {name!r}", where="--splits", cure=did_you_mean(name, SPLITS))
    return SPLITS[name]


def identities(world: World, split: str, part: Split) -> range:
    """Return the identities of a part; query and gallery have the same ones."""
    first = {"train": 0, "val": world.train, "query": world.train + world.val, "gallery": world.train + world.val}[part]
    count = {"train": world.train, "val": world.val, "query": world.test, "gallery": world.test}[part]
    start = find_split(split).code * PID_STRIDE + first
    return range(start, start + count)


def images(world: World, split: str, part: Split, pid: int) -> Iterator[ImageSpec]:
    """Yield the images of one identity in one part, by outfit, camera and frame."""
    layout = find_split(split)
    for outfit in range(layout.outfits):
        for camera in range(world.cameras):
            for frame in range(layout.frames):
                if part in ("train", "val") or _is_query(layout, outfit, frame) == (part == "query"):
                    yield ImageSpec(
                        pid=pid,
                        outfit=outfit,
                        wardrobe=layout.outfits,
                        camera=camera,
                        frame=frame,
                        height=world.height,
                        width=world.width,
                    )


def _is_query(layout: Layout, outfit: int, frame: int) -> bool:
    return (frame if layout.query_by == "frame" else outfit) == 0


def units(world: World, split: str, seed: int) -> list[Unit]:
    """Cut a split into shards of whole identities: about `IMAGES_PER_SHARD` images each, at least one shard a part."""
    found: list[Unit] = []
    for part in PARTS:
        pids = identities(world, split, part)
        each = sum(1 for _ in images(world, split, part, pids[0]))
        shards = max(1, round(len(pids) * each / IMAGES_PER_SHARD))
        for number in range(shards):
            first, last = len(pids) * number // shards, len(pids) * (number + 1) // shards
            spec = _spec(world, split, part, seed, pids[first], pids[last - 1] + 1)
            found.append(Unit(name=f"{part}-{number:06d}", spec=spec))
    return found


def _spec(world: World, split: str, part: Split, seed: int, first: int, last: int) -> dict[str, Any]:
    return {
        "world": world.name,
        "version": world.version,
        "seed": seed,
        "split": split,
        "part": part,
        "first": first,
        "last": last,
    }
