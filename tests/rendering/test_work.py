"""The work of one shard: a pure function of its unit, with a fingerprint that names all that makes bytes."""

import pickle
from pathlib import Path

import pytest

from resight.cluster.pool import Unit
from resight.rendering.work import RenderWork, body_sha256
from resight.rendering.world import WORLDS, units


def _unit(first: int, last: int) -> Unit:
    spec = units(WORLDS["micro"], "clothes", 0)[0].spec
    return Unit(name="train-000000", spec={**spec, "first": first, "last": last})


def test_the_fingerprint_names_versions_and_body() -> None:
    fingerprint = RenderWork().fingerprint
    assert body_sha256()[:16] in fingerprint
    for name in ("render-", "world-", "shard-", "numba-", "numpy-", "simplejpeg-"):
        assert name in fingerprint
    assert pickle.loads(pickle.dumps(RenderWork())).fingerprint == fingerprint


def test_an_identity_has_the_same_bytes_in_any_shard(tmp_path: Path) -> None:
    work, pid = RenderWork(), 200_001
    alone, company = tmp_path / "alone", tmp_path / "company"
    alone.mkdir()
    company.mkdir()
    work(_unit(pid, pid + 1), alone)
    work(_unit(pid - 1, pid + 2), company)
    small, large = (folder / "train-000000.tar" for folder in (alone, company))
    members = small.read_bytes().rstrip(b"\0")
    assert members in large.read_bytes()


def test_facts_count_the_images(tmp_path: Path) -> None:
    made = RenderWork()(_unit(200_000, 200_002), tmp_path)
    assert made.facts == {"images": 24}
    assert set(made.files) == {"shards/train-000000.tar", "rows/train-000000.parquet"}


@pytest.mark.parametrize("split", ["base", "clothes"])
def test_units_are_plain_json(split: str) -> None:
    for unit in units(WORLDS["tiny"], split, 3):
        assert all(isinstance(value, int | str) for value in unit.spec.values())
