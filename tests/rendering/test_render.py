"""Rendering a world: counts, disjoint people and clothes, equal bytes, resuming, and errors that can be mended."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, PoolBackend, Processes, RayActors
from resight.cluster.progress import Step
from resight.cluster.session import Session
from resight.datasets.dataset import open_dataset
from resight.rendering.capsule import capsule_body
from resight.rendering.preview import contact_sheet, people_sheet, shape_sheet
from resight.rendering.render import render_world, worth_processes
from resight.rendering.world import find_world, image_count


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    render_world("micro", seed=0, out=folder)
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    """Checksums of everything readers see; commit records tell who made it when."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "_commits" not in path.parts]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_cards_count_what_the_world_promises(micro: Path) -> None:
    cards = {split: open_dataset(micro / split).card for split in ("base", "clothes")}
    for card in cards.values():
        assert card.images == 40 * 12
        assert [card.counts[part]["ids"] for part in ("train", "val", "query", "gallery")] == [16, 8, 16, 16]
        assert set(card.made_by["renderer"]) >= {"body", "renderer", "numba"}
    assert cards["base"].counts["query"]["images"] == 32
    assert cards["clothes"].counts["query"]["images"] == 64


def test_query_and_gallery_of_clothes_share_people_but_no_outfit(micro: Path) -> None:
    index = open_dataset(micro / "clothes").index
    query, gallery = index.select(split="query"), index.select(split="gallery")
    assert set(index.pid[query]) == set(index.pid[gallery])
    assert not set(index.outfit[query]) & set(index.outfit[gallery])


def test_parts_and_splits_share_no_people(micro: Path) -> None:
    groups: list[set[int]] = []
    for split in ("base", "clothes"):
        index = open_dataset(micro / split).index
        groups += [set(index.pid[index.select(split=part)].tolist()) for part in ("train", "val", "query")]
    assert sum(map(len, groups)) == len(set[int]().union(*groups))


def test_what_is_stored_is_an_image_with_its_labels(micro: Path) -> None:
    dataset = open_dataset(micro / "base")
    for row in (0, 150, 479):
        image, mask, parts = dataset.image(row), dataset.mask(row), dataset.parts(row)
        assert image.shape == (128, 64, 3)
        assert mask is not None
        assert parts is not None
        assert mask.shape == (128, 64)
        assert 0.08 < (mask == 255).mean() < 0.5
        np.testing.assert_array_equal(mask > 0, parts > 0)


@pytest.mark.parametrize("backend", [InProcess(workers=2), Processes(workers=2)])
def test_a_second_world_has_the_same_bytes_however_it_was_made(
    micro: Path, tmp_path: Path, backend: PoolBackend
) -> None:
    render_world("micro", seed=0, out=tmp_path, splits=("clothes",), backend=backend)
    assert _hashes(tmp_path / "clothes") == _hashes(micro / "clothes")


@pytest.mark.ray
def test_ray_renders_the_same_bytes(micro: Path, tmp_path: Path, ray_cluster: Session) -> None:
    render_world("micro", seed=0, out=tmp_path, splits=("base",), backend=RayActors(workers=2))
    assert _hashes(tmp_path / "base") == _hashes(micro / "base")


def test_rendering_goes_on_where_it_stopped(micro: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(micro / "base", folder)
    for lost in ("dataset.json", "index.parquet", "_commits/val-000000.json", "shards/val-000000.tar"):
        (folder / lost).unlink()
    steps: list[Step] = []
    render_world("micro", seed=0, out=tmp_path, splits=("base",), progress=steps.append)
    assert steps[0].done == 3
    assert steps[-1].done == steps[-1].total == 4
    assert _hashes(folder) == _hashes(micro / "base")


def test_a_second_run_does_nothing(micro: Path) -> None:
    steps: list[Step] = []
    cards = render_world("micro", seed=0, out=micro, progress=steps.append)
    assert [step.done for step in steps] == [4, 4]
    assert [card.name for card in cards] == ["base", "clothes"]


def test_another_seed_is_refused_in_the_same_folder(micro: Path) -> None:
    with pytest.raises(UserError):
        render_world("micro", seed=1, out=micro)


def test_the_micro_world_is_not_worth_processes() -> None:
    assert not worth_processes("micro", ("base", "clothes"))
    assert worth_processes("tiny", ("base",))
    assert worth_processes("small", ("base",))


def test_images_are_counted_without_making_them(micro: Path) -> None:
    for split in ("base", "clothes"):
        assert image_count(find_world("micro"), split) == open_dataset(micro / split).card.images


def test_mistakes_are_explained_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'micro'"):
        render_world("mikro", seed=0, out=tmp_path)
    with pytest.raises(UserError, match="did you mean 'clothes'"):
        render_world("micro", seed=0, out=tmp_path, splits=("base", "cloths"))
    with pytest.raises(UserError, match="seed is -1"):
        render_world("micro", seed=-1, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "splits", [("style",), pytest.param(("occluded", "pose", "lowres", "shape"), marks=pytest.mark.slow)]
)
def test_every_split_of_the_micro_world_is_a_data_set(splits: tuple[str, ...], tmp_path: Path) -> None:
    for card in render_world("micro", seed=0, out=tmp_path, splits=splits):
        more = 16 if card.name == "style" else 0
        assert card.images == (40 + more) * 12
        index = open_dataset(tmp_path / card.name).index
        people = [set(index.pid[index.select(split=part)].tolist()) - {-1} for part in ("train", "val", "query")]
        assert [len(group) for group in people] == [16, 8, 16]
        assert len(set[int]().union(*people)) == 40
        assert set(index.pid[index.select(split="gallery")]) == people[2]
        assert (index.pid == -1).sum() == more * 12


def test_a_contact_sheet_shows_people_in_rows() -> None:
    sheet = contact_sheet("micro", seed=0, split="clothes", groups=("train",), people=2, per_row=3)
    assert sheet.shape == (256, 192, 3)
    sides = contact_sheet("micro", seed=0, split="style", groups=("train", "unlabelled", "query"), people=1, per_row=6)
    assert sides.shape == (128, 384, 3)
    assert people_sheet(0, people=1, outfits=2, cameras=2).shape == (128, 256, 3)


def test_a_sheet_of_shapes_shows_every_axis() -> None:
    sheet = shape_sheet(capsule_body(), steps=(0.0, 2.0), height=96)
    middle, changed = sheet[:96], sheet[96:]
    width = sheet.shape[1] // 10
    assert all(
        (middle[:, n * width : (n + 1) * width] != changed[:, n * width : (n + 1) * width]).any() for n in range(10)
    )
