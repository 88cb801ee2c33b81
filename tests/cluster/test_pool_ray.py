from pathlib import Path

import pytest
import ray

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, RayActors, Unit, run_pool
from resight.cluster.session import Session
from resight.cluster.storage import LocalStorage
from tests.cluster.whatever import whatever_happens
from tests.cluster.works import Digits, Unloadable, WhoMade, units_of

pytestmark = pytest.mark.ray


def test_whatever_happens_the_result_is_that_of_one_process(tmp_path: Path, ray_cluster: Session):
    whatever_happens(tmp_path, RayActors(workers=2))


def test_published_units_need_no_actors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    storage, work = LocalStorage(tmp_path / "out"), Digits(marks=tmp_path)
    run_pool(work, units_of(0, 1), storage, backend=InProcess())
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert run_pool(work, units_of(0, 1), storage, backend=RayActors(workers=2)).skipped == 2
    with pytest.raises(RuntimeError, match="needs an open ray_session"):
        run_pool(work, units_of(0, 1, 2), storage, backend=RayActors(workers=2))


def test_a_lease_that_runs_out_is_a_failed_attempt(tmp_path: Path, ray_cluster: Session):
    units = [*units_of(0), *units_of(1, fault="hang", once=True)]
    backend = RayActors(workers=1, lease_s=1.5)
    result = run_pool(Digits(marks=tmp_path), units, LocalStorage(tmp_path / "out"), backend=backend)
    assert [commit.attempt for commit in result.commits] == [1, 2]


def test_actors_are_replaced_and_have_their_environment(tmp_path: Path, ray_cluster: Session):
    units = [Unit(name=f"u{number}", spec={}) for number in range(3)]
    backend = RayActors(workers=1, recycle_after=2, env={"RESIGHT_MARK": "x"})
    result = run_pool(WhoMade(), units, LocalStorage(tmp_path), backend=backend)
    made_by = [commit.facts["pid"] for commit in result.commits]
    assert made_by[0] == made_by[1] != made_by[2]
    assert {commit.facts["mark"] for commit in result.commits} == {"x"}


def test_a_folder_that_cannot_be_written_stops_the_pool(tmp_path: Path, ray_cluster: Session):
    (tmp_path / "shards").write_text("in the way")
    with pytest.raises(UserError, match="could not write"):
        run_pool(Digits(marks=tmp_path), units_of(0, 1, 2), LocalStorage(tmp_path), backend=RayActors(workers=1))


def test_work_that_cannot_be_loaded_stops_the_pool(tmp_path: Path, ray_cluster: Session):
    with pytest.raises(RuntimeError, match=r"3 workers in a row could not start: .*a library is missing here"):
        run_pool(Unloadable(), units_of(0, 1), LocalStorage(tmp_path), backend=RayActors(workers=2))


def test_a_cluster_without_room_is_explained(tmp_path: Path, ray_cluster: Session):
    backend = RayActors(workers=1, resources={"renderer": 1.0}, start_timeout_s=0.5)
    with pytest.raises(UserError, match=r"no worker could start within 0\.5 s") as caught:
        run_pool(WhoMade(), units_of(0), LocalStorage(tmp_path), backend=backend)
    assert "renderer 1" in caught.value.where
