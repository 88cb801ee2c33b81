"""The world's plan: sizes, who is a query, disjoint people, shards that cover everything exactly once."""

import pytest

from resight.cluster.errors import UserError
from resight.datasets.records import Split
from resight.rendering.world import PARTS, SPLITS, WORLDS, find_split, find_world, identities, images, units


def _pids(world: str, split: str, part: Split) -> set[int]:
    return set(identities(WORLDS[world], split, part))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("world", "each"), [("micro", 12), ("tiny", 24)])
def test_sizes(world: str, each: int, split: str) -> None:
    size = WORLDS[world]
    counts: dict[Split, int] = {"train": size.train, "val": size.val}
    for part, people in counts.items():
        assert len(_pids(world, split, part)) == people
        assert all(len(list(images(size, split, part, pid))) == each for pid in _pids(world, split, part))
    pid = min(_pids(world, split, "query"))
    query, gallery = list(images(size, split, "query", pid)), list(images(size, split, "gallery", pid))
    assert len(query) + len(gallery) == each
    assert not {spec.key for spec in query} & {spec.key for spec in gallery}


def test_people_of_parts_and_splits_are_different_people() -> None:
    parts: tuple[Split, ...] = ("train", "val", "query")
    groups = [_pids("tiny", split, part) for split in SPLITS for part in parts]
    assert sum(map(len, groups)) == len(set[int]().union(*groups))
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
    for part in PARTS:
        pids = [pid for u in found if u.spec["part"] == part for pid in range(u.spec["first"], u.spec["last"])]
        assert pids == list(identities(WORLDS[name], split, part))
    assert all(unit.spec["seed"] == 7 for unit in found)


def test_two_workers_share_the_tiny_world() -> None:
    train = [unit for unit in units(WORLDS["tiny"], "base", 0) if unit.spec["part"] == "train"]
    assert [(unit.spec["last"] - unit.spec["first"]) * 24 for unit in train] == [768] * 6


def test_unknown_names_are_explained() -> None:
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        find_world("tny")
    with pytest.raises(UserError, match="did you mean 'clothes'"):
        find_split("cloths")
