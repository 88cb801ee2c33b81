"""What the world consists of: sizes, cameras, who is seen when by which camera, and how images are cut into shards.

What: pure enumeration; nothing is drawn or rendered here. A *split* is a question asked of the world (`splits.py`); a
*group* is train, val, query or gallery inside one, or what only some splits and sizes have: unlabelled training images,
and distractors in the gallery. Why: sizes, query rules and shard boundaries decide what a benchmark measures, so they
stand in one place that can be read in one go. Source: design of this project; query and gallery as in Zheng et al. 2015
(Market-1501): the rule that drops the query's own camera is applied by the judge. Trade-off: splits share cameras but
never people, so a cue learnt in one split about a person is worth nothing in another.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from resight.cluster.errors import UserError, did_you_mean
from resight.cluster.units import Unit
from resight.rendering.draws import VERSION
from resight.rendering.splits import USUAL, CameraKind, Group, Layout, Staging, find_split

__all__ = [
    "GROUPS",
    "WORLDS",
    "ImageSpec",
    "World",
    "camera_kind",
    "cameras",
    "find_world",
    "identities",
    "image_count",
    "images",
    "units",
]

GROUPS: Final[tuple[Group, ...]] = ("train", "unlabelled", "val", "query", "gallery", "distractor")

IMAGES_PER_SHARD: Final = 768
"""Aim for the number of images in a shard; a shard holds whole identities."""

PID_STRIDE: Final = 100_000
"""Identities of split `code` are code x PID_STRIDE + number, so no two splits share a person."""

_FIRST_UNLABELLED: Final = 50_000
_FIRST_DISTRACTOR: Final = 80_000

_CAMERAS_OF_A_KIND: Final = 32
_KINDS: Final[tuple[CameraKind, ...]] = ("usual", "foreign", "coarse")


@dataclass(frozen=True, kw_only=True)
class World:
    """A size of the world: how many people of each kind, and how many cameras.

    Attributes:
        name: e.g. "tiny".
        train: identities to learn from; as many unlabelled ones where a split has them.
        val: identities to choose by.
        test: identities in query and gallery.
        distractors: further identities in the gallery, each much like one of the test's.
        cameras: that see everybody, up to 32.
        height: of every image, pixels.
        width: of every image, pixels.
        version: of the world (`rendering.draws.VERSION`).
    """

    name: str
    train: int
    val: int
    test: int
    cameras: int
    distractors: int = 0
    height: int = 128
    width: int = 64
    version: int = VERSION


WORLDS: Final[dict[str, World]] = {
    world.name: world
    for world in (
        World(name="micro", train=16, val=8, test=16, cameras=2),
        World(name="tiny", train=192, val=32, test=48, cameras=4),
        World(name="small", train=600, val=100, test=300, distractors=100, cameras=6, height=256, width=128),
        World(name="medium", train=2400, val=400, test=1000, distractors=400, cameras=12, height=256, width=128),
    )
}


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """One image: all that its pixels depend on beside the seed and the world's version.

    Attributes:
        pid: who it really is, also where nobody may know.
        outfit: number of the person's outfit.
        wardrobe: outfits that the person has.
        camera: number; says the kind too (`camera_kind`).
        frame: number.
        height: pixels.
        width: pixels.
        staging: what it shows beside the person.
        like: the identity whose body or clothes this one nearly has, -1 for none.
    """

    pid: int
    outfit: int
    wardrobe: int
    camera: int
    frame: int
    height: int
    width: int
    staging: Staging = USUAL
    like: int = -1

    @property
    def key(self) -> str:
        """The sample's key: stable, sorted by identity; one that tells nothing where nobody may know who it is."""
        plain = f"{self.pid:06d}_o{self.outfit}_c{self.camera:02d}_f{self.frame:02d}"
        if self.staging.labelled:
            return plain
        return "u" + hashlib.blake2b(plain.encode(), digest_size=8, person=b"unlabelled").hexdigest()


def find_world(name: str) -> World:
    """Return the world called `name`.

    Raises:
        UserError: when there is none.
    """
    if name not in WORLDS:
        raise UserError(f"there is no world {name!r}", where="--world", cure=did_you_mean(name, WORLDS))
    return WORLDS[name]


def camera_kind(camera: int) -> CameraKind:
    """Return the kind of a camera, which its number says."""
    return _KINDS[camera // _CAMERAS_OF_A_KIND]


def cameras(world: World, staging: Staging) -> list[int]:
    """Return the numbers of the cameras that see everybody; where two kinds share them, the usual have the odd one."""
    whole, rest = divmod(world.cameras, staging.kinds)
    counts = {kind: whole + (rest if kind == "usual" else 0) for kind in staging.cameras}
    return [_KINDS.index(kind) * _CAMERAS_OF_A_KIND + number for kind in counts for number in range(counts[kind])]


def identities(world: World, split: str, group: Group) -> range:
    """Return the identities of a group, none where the split or the world has no such group.

    Query and gallery have the same ones, and no other two groups share any.
    """
    layout = find_split(split)
    if group not in layout.groups:
        return range(0)
    test = world.train + world.val
    first, count = {
        "train": (0, world.train),
        "unlabelled": (_FIRST_UNLABELLED, world.train),
        "val": (world.train, world.val),
        "query": (test, world.test),
        "gallery": (test, world.test),
        "distractor": (_FIRST_DISTRACTOR, world.distractors),
    }[group]
    start = layout.code * PID_STRIDE + first
    return range(start, start + count)


def images(world: World, split: str, group: Group, pid: int) -> Iterator[ImageSpec]:
    """Yield the images of one identity in one group, by outfit, camera and frame."""
    layout = find_split(split)
    staging = layout.groups[group]
    for outfit in range(layout.outfits):
        for camera in cameras(world, staging):
            for frame in range(layout.frames):
                if _belongs(layout, group, outfit, frame):
                    yield ImageSpec(
                        pid=pid,
                        outfit=outfit,
                        wardrobe=layout.outfits,
                        camera=camera,
                        frame=frame,
                        height=world.height,
                        width=world.width,
                        staging=staging,
                        like=_model(world, split, pid) if group == "distractor" else -1,
                    )


def image_count(world: World, split: str) -> int:
    """Return how many images a split has, over all groups."""
    return sum(len(identities(world, split, group)) * _each(world, split, group) for group in GROUPS)


def _each(world: World, split: str, group: Group) -> int:
    """Return how many images each identity of a group has."""
    return sum(1 for pid in identities(world, split, group)[:1] for _ in images(world, split, group, pid))


def _belongs(layout: Layout, group: Group, outfit: int, frame: int) -> bool:
    if group in ("train", "unlabelled", "val") or layout.query_by == "camera":
        return True
    return ((frame if layout.query_by == "frame" else outfit) == 0) == (group == "query")


def _model(world: World, split: str, pid: int) -> int:
    """Return the test identity that a distractor is like: all of them in turn, by body and by clothes."""
    people, distractors = identities(world, split, "gallery"), identities(world, split, "distractor")
    return people[(pid - distractors.start) // 2 % len(people)]


def units(world: World, split: str, seed: int, made_with: dict[str, str] | None = None) -> list[Unit]:
    """Cut a split into shards of whole identities: about `IMAGES_PER_SHARD` images each, at least one shard a group.

    Args:
        world: the size.
        split: its name.
        seed: the world's.
        made_with: what else the bytes depend on: renderer and body.
    """
    found: list[Unit] = []
    for group in GROUPS:
        pids = identities(world, split, group)
        if not pids:
            continue
        count = len(pids) * _each(world, split, group)
        shards = min(len(pids), max(1, round(count / IMAGES_PER_SHARD)))
        for number in range(shards):
            first, last = len(pids) * number // shards, len(pids) * (number + 1) // shards
            spec = _spec(world, split, group, seed, pids[first], pids[last - 1] + 1) | (made_with or {})
            found.append(Unit(name=f"{group}-{number:06d}", spec=spec))
    return found


def _spec(world: World, split: str, group: Group, seed: int, first: int, last: int) -> dict[str, Any]:
    return {
        "world": world.name,
        "version": world.version,
        "seed": seed,
        "split": split,
        "group": group,
        "first": first,
        "last": last,
    }
