"""The work of one shard: a pure function of its unit, with a fingerprint that names all that makes bytes."""

import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.cluster.pool import Unit
from resight.cluster.units import spec_hash
from resight.rendering.bodies import DEFAULT_BODY, body_sha256, find_body
from resight.rendering.body import save_body
from resight.rendering.capsule import capsule_body
from resight.rendering.work import RenderWork
from resight.rendering.world import WORLDS, units


def _unit(first: int, last: int) -> Unit:
    spec = units(WORLDS["micro"], "clothes", 0)[0].spec
    return Unit(name="train-000000", spec={**spec, "first": first, "last": last})


def test_the_fingerprint_names_versions() -> None:
    fingerprint = RenderWork().fingerprint
    for name in ("render-", "world-", "shard-", "numba-", "numpy-", "simplejpeg-"):
        assert name in fingerprint
    assert pickle.loads(pickle.dumps(RenderWork())).fingerprint == fingerprint


def test_specifications_name_renderer_and_body(tmp_path: Path) -> None:
    body = capsule_body()
    save_body(replace(body, v_template=body.v_template * np.float32(1.1)), tmp_path / "tall.npz")
    plain, tall = RenderWork(), RenderWork(body=str(tmp_path / "tall.npz"))
    assert plain.made_with["renderer"].startswith("numba ")
    assert plain.made_with["body"] == body_sha256(find_body(DEFAULT_BODY))
    hashes = {
        spec_hash(units(WORLDS["micro"], "base", 0, made_with)[0], plain.fingerprint)
        for made_with in (plain.made_with, tall.made_with, plain.made_with | {"renderer": "pyrender 1, llvmpipe"})
    }
    assert len(hashes) == 3


def test_a_shard_that_was_ordered_with_another_renderer_is_refused(tmp_path: Path) -> None:
    unit = _unit(200_000, 200_001)
    other = Unit(name=unit.name, spec={**unit.spec, "renderer": "pyrender 0.1.45, GeForce"})
    with pytest.raises(UserError, match="GeForce"):
        RenderWork()(other, tmp_path)


def test_a_body_without_a_nose_is_refused(tmp_path: Path) -> None:
    save_body(capsule_body(), tmp_path / "body.npz")
    assert body_sha256(find_body(str(tmp_path / "body.npz"))) == body_sha256(capsule_body())
    with np.load(tmp_path / "body.npz") as file:
        np.savez(tmp_path / "faceless.npz", **{name: file[name] for name in file.files if name != "vertex_ids"})
    with pytest.raises(UserError, match="nose"):
        _ = RenderWork(body=str(tmp_path / "faceless.npz")).made_with


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


@pytest.mark.parametrize("split", ["base", "style"])
def test_units_are_plain_json(split: str) -> None:
    for unit in units(WORLDS["tiny"], split, 3):
        assert all(isinstance(value, int | str) for value in unit.spec.values())


def _members(
    split: str, group: str, first: int, folder: Path, world: str = "micro"
) -> tuple[list[dict[str, Any]], set[str]]:
    """Records and kinds of members of one identity's shard."""
    spec = {**units(WORLDS[world], split, 0)[0].spec, "group": group, "first": first, "last": first + 1}
    RenderWork()(Unit(name="one", spec=spec), folder)
    records: list[dict[str, Any]] = []
    with tarfile.open(folder / "one.tar") as tar:
        for name in tar.getnames():
            file = tar.extractfile(name)
            if file is not None and name.endswith(".json"):
                records.append(json.load(file))
        return records, {name.split(".", 1)[1] for name in tar.getnames()}


def test_unlabelled_images_say_nothing_of_who_it_is(tmp_path: Path) -> None:
    records, kinds = _members("style", "unlabelled", 450_000, tmp_path)
    assert len(records) == 12
    for record in records:
        told = (record["pid"], record["outfit"], record["tracklet"], record["frame"])
        assert told == (-1, -1, -1, -1)
        assert record["split"] == "train"
        assert record["role"] == "person"
        assert not {"betas", "pose", "words", "measurements"} & set(record)
        assert "450000" not in json.dumps(record)
    assert kinds == {"jpg", "json", "mask.png", "parts.png"}


def test_hidden_people_come_with_their_whole_mask(tmp_path: Path) -> None:
    records, kinds = _members("occluded", "query", 300_024, tmp_path)
    assert "amodal.png" in kinds
    assert all(0 < record["hidden"] <= 0.6 for record in records)


def test_distractors_are_wrong_answers_in_the_gallery(tmp_path: Path) -> None:
    records, kinds = _members("clothes", "distractor", 280_000, tmp_path, world="small")
    assert kinds == {"jpg", "json", "mask.png", "parts.png"}
    assert {(r["role"], r["split"], r["pid"]) for r in records} == {("distractor", "gallery", 280_000)}
    assert {record["outfit"] % 10 for record in records} == {1, 2}
