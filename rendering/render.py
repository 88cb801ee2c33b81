"""Render a world: one data set a split, shard by shard through a work pool, published when whole.

What: `render_world("tiny", seed=0, out=...)` makes `out/base` and `out/clothes`. Why: it is the first thing a new
user runs, so it is one call, needs no download, and can be stopped and started again at any time: finished shards are
kept, and a second run finds everything published. Source: design of this project. Trade-off: splits are rendered one
after the other, so the last shards of a split may leave a worker idle.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, PoolBackend, run_pool
from resight.cluster.progress import Progress, silent
from resight.cluster.storage import open_storage
from resight.datasets.card import DatasetCard
from resight.datasets.publish import publish_dataset
from resight.rendering.bodies import BODIES, DEFAULT_BODY
from resight.rendering.renderers import renderer_name
from resight.rendering.splits import find_split
from resight.rendering.work import RENDERER, RenderWork, versions
from resight.rendering.world import World, find_world, image_count, units

__all__ = ["LICENCE", "render_world", "worth_processes"]

DEFAULT_SPLITS: Final = ("base", "clothes")

LICENCE: Final = "CC0-1.0: rendered from a seed, shows no real person"

_MANY_PIXELS: Final = 2_000 * 128 * 64
"""From about here on, two worker processes are faster than two threads in spite of their start."""


def worth_processes(world: str, splits: Sequence[str]) -> bool:
    """Return whether there is so much to render that worker processes pay for their start.

    Raises:
        UserError: for an unknown world or split.
    """
    size = find_world(world)
    return sum(image_count(size, split) for split in splits) * size.height * size.width >= _MANY_PIXELS


def render_world(
    world: str,
    *,
    seed: int,
    out: str | Path,
    splits: Sequence[str] = DEFAULT_SPLITS,
    renderer: str = "numba",
    body: str = DEFAULT_BODY,
    backend: PoolBackend | None = None,
    progress: Progress = silent,
) -> list[DatasetCard]:
    """Render a world into one data set a split.

    Args:
        world: its name (`rendering.world.WORLDS`).
        seed: of everything in it; >= 0.
        out: folder or URL; split `base` goes to `out`/base.
        splits: which ones (`rendering.splits.SPLITS`).
        renderer: "numba", which defines the bytes, or "pyrender", which needs OpenGL through EGL.
        body: name or path of a body (`bodies.find_body`).
        backend: where the work runs; in this process by default. `Processes` use several cores best: most of a small
            image's time holds the interpreter's lock.
        progress: told after every shard.

    Returns:
        The cards, in the order of `splits`.

    Raises:
        UserError: for an unknown world, split or renderer, a renderer or body that cannot be used, a negative seed, or
            a folder that holds something else.
    """
    size = find_world(world)
    layouts = [find_split(split).name for split in splits]
    if seed < 0:
        raise UserError(f"the seed is {seed}", where="--seed", cure="use 0 or a positive number")
    work = RenderWork(renderer=renderer_name(renderer), body=body if body in BODIES else str(Path(body).absolute()))
    made_with = work.made_with
    place = str(out).rstrip("/")
    backend = InProcess() if backend is None else backend
    return [
        _render_split(size, split, seed, f"{place}/{split}", work, made_with, backend, progress) for split in layouts
    ]


def _render_split(
    world: World,
    split: str,
    seed: int,
    place: str,
    work: RenderWork,
    made_with: dict[str, str],
    backend: PoolBackend,
    progress: Progress,
) -> DatasetCard:
    storage, shards = open_storage(place), units(world, split, seed, made_with)
    result = run_pool(work, shards, storage, backend=backend, progress=progress, task=f"render {split}")
    made_by = {
        "command": _command(world, seed, work),
        "world": world.name,
        "version": world.version,
        "seed": seed,
        "split": split,
        "renderer": {"name": RENDERER, **versions(), **made_with},
    }
    return publish_dataset(storage, result, name=split, licence=LICENCE, made_by=made_by)


def _command(world: World, seed: int, work: RenderWork) -> str:
    """Return what to type to get the same again; a body's file is not named, since paths are this machine's own."""
    other = "" if work.renderer == "numba" else f" --renderer {work.renderer}"
    if work.body != DEFAULT_BODY:
        other += f" --body {work.body if work.body in BODIES else 'FILE'}"
    return f"resight render --world {world.name} --seed {seed}{other}"
