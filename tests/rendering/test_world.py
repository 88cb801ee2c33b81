"""The world's plan: sizes, who is a query, disjoint people, shards that cover everything exactly once."""

import pytest

from resight.cluster.errors import UserError
from resight.rendering.splits import SPLITS, Group, find_split
from resight.rendering.world import (
    GROUPS,
    WORLDS,
    World,
    camera_kind,
    cameras,
    find_world,
    identities,
    images,
    units,
)

EVERYTHING = World(name="tiny", train=6, val=4, test=5, cameras=3, distractors=12)
"""A world with all groups that there are."""


def _pids(world: str, split: str, group: Group) -> set[int]:
    return set(identities(WORLDS[world], split, group))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("world", "each"), [("micro", 12), ("tiny", 24)])
def test_sizes(world: str, each: int, split: str) -> None:
    size = WORLDS[world]
    counts: dict[Group, int] = {"train": size.train, "val": size.val}
    for part, people in counts.items():
        assert len(_pids(world, split, part)) == people
        assert all(len(list(images(size, split, part, pid))) == each for pid in _pids(world, split, part))
    pid = min(_pids(world, split, "query"))
    query, gallery = list(images(size, split, "query", pid)), list(images(size, split, "gallery", pid))
    assert len(query) + len(gallery) == each
    assert not {spec.key for spec in query} & {spec.key for spec in gallery}


def test_people_of_parts_and_splits_are_different_people() -> None:
    apart: tuple[Group, ...] = ("train", "unlabelled", "val", "query", "distractor")
    groups = [_pids("medium", split, group) for split in SPLITS for group in apart]
    assert sum(map(len, groups)) == len(set[int]().union(*groups)) > 7 * 4200
    assert _pids("tiny", "base", "query") == _pids("tiny", "base", "gallery")


def test_a_query_of_clothes_is_never_seen_in_the_gallery_in_the_same_outfit() -> None:
    world = WORLDS["tiny"]
    for pid in _pids("tiny", "clothes", "query"):
        query = {spec.outfit for spec in images(world, "clothes", "query", pid)}
        gallery = {spec.outfit for spec in images(world, "clothes", "gallery", pid)}
        assert query == {0}
        assert gallery == {1, 2}


def test_every_camera_asks_one_query_of_base() -> None:
    specs = list(images(WORLDS["tiny"], "base", "query", 100_224))
    assert [spec.camera for spec in specs] == [0, 1, 2, 3]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", WORLDS)
def test_shards_hold_every_identity_once(name: str, split: str) -> None:
    found = units(WORLDS[name], split, seed=7)
    assert len({unit.name for unit in found}) == len(found)
    for group in GROUPS:
        pids = [pid for u in found if u.spec["group"] == group for pid in range(u.spec["first"], u.spec["last"])]
        assert pids == list(identities(WORLDS[name], split, group))
    assert all(unit.spec["seed"] == 7 for unit in found)


def test_two_workers_share_the_tiny_world() -> None:
    train = [unit for unit in units(WORLDS["tiny"], "base", 0) if unit.spec["group"] == "train"]
    assert [(unit.spec["last"] - unit.spec["first"]) * 24 for unit in train] == [768] * 6


def test_unknown_names_are_explained() -> None:
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        find_world("tny")
    with pytest.raises(UserError, match="did you mean 'clothes'"):
        find_split("cloths")


def test_the_medium_world_has_300_000_images_a_split() -> None:
    world, total = WORLDS["medium"], 0
    for group in GROUPS:
        pids = identities(world, "base", group)
        total += len(pids) * (len(list(images(world, "base", group, pids[0]))) if pids else 0)
    assert 295_000 < total < 310_000
    assert world.train >= 2000


def test_a_key_is_used_once_in_a_split() -> None:
    for split in SPLITS:
        specs = [s for group in GROUPS for pid in identities(EVERYTHING, split, group)
                 for s in images(EVERYTHING, split, group, pid)]  # fmt: skip
        assert len({spec.key for spec in specs}) == len(specs)


def test_style_is_asked_in_cameras_that_no_labelled_image_has() -> None:
    seen = {group: {s.camera for pid in identities(EVERYTHING, "style", group)
                    for s in images(EVERYTHING, "style", group, pid)} for group in GROUPS}  # fmt: skip
    assert not (seen["train"] | seen["val"]) & (seen["query"] | seen["gallery"])
    assert seen["unlabelled"] == seen["query"] == seen["gallery"] == seen["distractor"]
    assert {camera_kind(camera) for camera in seen["unlabelled"]} == {"foreign"}


def test_low_resolution_asks_coarse_cameras_about_fine_ones() -> None:
    groups = SPLITS["lowres"].groups
    query, gallery = cameras(EVERYTHING, groups["query"]), cameras(EVERYTHING, groups["gallery"])
    assert {camera_kind(camera) for camera in query} == {"coarse"}
    assert {camera_kind(camera) for camera in gallery} == {"usual"}
    train = cameras(EVERYTHING, groups["train"])
    assert len(train) == EVERYTHING.cameras
    assert {camera_kind(camera) for camera in train} == {"usual", "coarse"}


def test_the_key_of_an_unlabelled_image_tells_nothing() -> None:
    pid = identities(EVERYTHING, "style", "unlabelled")[0]
    for spec in images(EVERYTHING, "style", "unlabelled", pid):
        assert str(pid) not in spec.key
        assert not spec.staging.labelled


def test_distractors_are_like_everybody_in_the_test_by_body_and_by_clothes() -> None:
    pids = identities(EVERYTHING, "clothes", "distractor")
    models = {pid: next(images(EVERYTHING, "clothes", "distractor", pid)).like for pid in pids}
    test = set(identities(EVERYTHING, "clothes", "query"))
    assert {model for pid, model in models.items() if pid % 2} == test
    assert {model for pid, model in models.items() if not pid % 2} == test
    assert all(spec.like == -1 for spec in images(EVERYTHING, "clothes", "gallery", min(test)))
