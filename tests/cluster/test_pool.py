import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resight.cluster.commits import commit_key, read_commit
from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, Made, PoolBackend, Processes, Unit, run_pool
from resight.cluster.progress import Step
from resight.cluster.storage import LocalStorage
from tests.cluster.works import Buffered, Digits, Lazy, StopsAfter, tree, units_of

BACKENDS: list[PoolBackend] = [InProcess(), InProcess(workers=3), Processes(workers=2)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_units_are_published_with_their_records(tmp_path: Path, backend: PoolBackend):
    storage = LocalStorage(tmp_path / "out")
    result = run_pool(Digits(marks=tmp_path), units_of(2, 0, 1), storage, backend=backend)
    assert [commit.name for commit in result.commits] == ["train-000002", "train-000000", "train-000001"]
    assert (result.quarantined, result.skipped, result.retries, result.differing) == ((), 0, 0, ())
    first = result.commits[0]
    assert list(first.files) == ["rows/train-000002.txt", "shards/train-000002.txt"]
    assert first.files["rows/train-000002.txt"].size == 3
    assert first.facts == {"characters": 192, "shape": [1, 2]}
    assert json.loads(storage.read(commit_key("train-000002")))["spec_hash"] == first.spec_hash
    assert sorted(storage.list("_commits/")) == [commit_key(f"train-00000{n}") for n in range(3)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_run_does_nothing(tmp_path: Path, backend: PoolBackend):
    storage = LocalStorage(tmp_path / "out")
    first = run_pool(Digits(marks=tmp_path), units_of(0, 1), storage, backend=backend)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    second = run_pool(StopsAfter(work=Digits(marks=tmp_path), calls=0), units_of(0, 1), storage, backend=backend)
    assert second.commits == first.commits
    assert second.skipped == 2
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds=st.lists(st.integers(0, 30), unique=True, max_size=8), stops=st.lists(st.integers(0, 5), max_size=3))
def test_interrupted_runs_end_like_an_undisturbed_one(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int], stops: list[int]
):
    root = tmp_path_factory.mktemp("resume")
    calm, rough = LocalStorage(root / "calm"), LocalStorage(root / "rough")
    units, work = units_of(*seeds), Digits(marks=root)
    wanted = run_pool(work, units, calm, backend=InProcess())
    made = 0
    for stop in stops:
        try:
            run_pool(StopsAfter(work=work, calls=stop), units, rough, backend=InProcess())
        except KeyboardInterrupt:
            made += stop
            assert len(rough.list("_commits/")) == made
        else:
            made = len(seeds)
    result = run_pool(work, units, rough, backend=InProcess(workers=2))
    assert result.skipped == made
    assert result.commits == wanted.commits
    assert tree(rough.root) == tree(calm.root)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failure_is_retried(tmp_path: Path, backend: PoolBackend):
    units = [*units_of(0, 1), *units_of(2, fault="error", once=True)]
    result = run_pool(Digits(marks=tmp_path), units, LocalStorage(tmp_path / "out"), backend=backend)
    assert [commit.attempt for commit in result.commits] == [1, 1, 2]
    assert result.retries == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_poisoned_unit_is_set_aside_and_the_rest_completes(tmp_path: Path, backend: PoolBackend):
    units = [*units_of(3, fault="error"), *units_of(0, 1), *units_of(4, fault="user")]
    storage = LocalStorage(tmp_path / "out")
    result = run_pool(Digits(marks=tmp_path), units, storage, backend=backend, attempts=2)
    assert [commit.name for commit in result.commits] == ["train-000000", "train-000001"]
    assert [(each.name, each.attempts) for each in result.quarantined] == [("train-000003", 2), ("train-000004", 2)]
    error, user = (each.reason for each in result.quarantined)
    assert error.startswith("ValueError: cannot make train-000003\n  at ")
    assert error.endswith("in misbehave")
    for part in ("UserError: row 7 has no pid", "labels.csv", "add one"):
        assert part in user
    assert not storage.exists(commit_key("train-000003"))


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path):
    storage = LocalStorage(tmp_path / "out")
    run_pool(Digits(marks=tmp_path), units_of(0, 1, light="day", old=1), storage, backend=InProcess())
    before = tree(tmp_path / "out")
    with pytest.raises(UserError) as caught:
        run_pool(Digits(marks=tmp_path), units_of(0, 1, light="night", new=1), storage, backend=InProcess())
    assert "'train-000000' is already published with other settings" in caught.value.problem
    assert 'light is "day", asked for "night"' in caught.value.problem
    assert "new is absent, asked for 1; old is 1, asked for absent" in caught.value.problem
    assert "seed" not in caught.value.problem
    assert "another folder" in caught.value.cure
    assert tree(tmp_path / "out") == before


def test_another_version_of_the_work_is_refused(tmp_path: Path):
    storage = LocalStorage(tmp_path / "out")
    run_pool(Digits(marks=tmp_path), units_of(0), storage, backend=InProcess())
    with pytest.raises(UserError, match="made by is digits-1, asked for digits-2"):
        run_pool(Digits(marks=tmp_path, fingerprint="digits-2"), units_of(0), storage, backend=InProcess())


@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_a_unit_whose_files_were_lost_is_made_again(tmp_path: Path, damage: str):
    storage, work = LocalStorage(tmp_path / "out"), Digits(marks=tmp_path)
    run_pool(work, units_of(0, 1), storage, backend=InProcess())
    before = tree(tmp_path / "out")
    lost = storage.local("shards/train-000001.txt")
    lost.unlink() if damage == "remove" else lost.write_bytes(b"cut")
    result = run_pool(work, units_of(0, 1), storage, backend=InProcess())
    assert result.skipped == 1
    assert tree(tmp_path / "out") == before


def test_a_torn_record_is_explained(tmp_path: Path):
    storage = LocalStorage(tmp_path / "out")
    run_pool(Digits(marks=tmp_path), units_of(0), storage, backend=InProcess())
    storage.publish(b"{", commit_key("train-000000"))
    with pytest.raises(UserError, match="is not a commit record"):
        run_pool(Digits(marks=tmp_path), units_of(0), storage, backend=InProcess())


class Rival:
    """Another publisher commits the unit while this one is making it."""

    fingerprint = "lazy-1"

    def __init__(self, storage: LocalStorage, theirs: str) -> None:
        self.storage, self.theirs = storage, theirs

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        run_pool(Lazy(files={"x": self.theirs}), [unit], self.storage, backend=InProcess())
        return Lazy(files={"x": "ours"})(unit, scratch)


@pytest.mark.parametrize(("theirs", "differing"), [("theirs", ("u",)), ("ours", ())])
def test_the_first_committed_copy_wins(tmp_path: Path, theirs: str, differing: tuple[str, ...]):
    storage = LocalStorage(tmp_path / "out")
    result = run_pool(Rival(storage, theirs), [Unit(name="u", spec={})], storage, backend=InProcess())
    assert result.differing == differing
    assert result.quarantined == ()
    assert storage.read("x") == theirs.encode()
    assert result.commits[0].files["x"].size == len(theirs)
    assert len(storage.list("_conflicts/")) == len(differing)


class Late(LocalStorage):
    """Another publisher commits the unit while this one's files are on their way."""

    def publish_file(self, path: Path, key: str) -> None:
        if not self.exists(commit_key("u")):
            run_pool(
                Lazy(files={"x": "theirs"}), [Unit(name="u", spec={})], LocalStorage(self.root), backend=InProcess()
            )
        super().publish_file(path, key)


def test_a_record_says_what_lies_there_when_two_publish_at_once(tmp_path: Path):
    storage = Late(tmp_path / "out")
    result = run_pool(Lazy(files={"x": "ours"}), [Unit(name="u", spec={})], storage, backend=InProcess())
    assert storage.read("x") == b"ours"
    record = read_commit(storage, "u")
    assert record is not None
    assert record == result.commits[0]
    assert record.files["x"].sha256 == hashlib.sha256(b"ours").hexdigest()
    (conflict,) = storage.list("_conflicts/")
    assert hashlib.sha256(b"theirs").hexdigest() in storage.read(conflict).decode()


def test_a_rival_with_other_settings_is_an_error(tmp_path: Path):
    class Other(Rival):
        def __call__(self, unit: Unit, scratch: Path) -> Made:
            return super().__call__(replace(unit, spec={"seed": 1}), scratch)

    storage = LocalStorage(tmp_path / "out")
    with pytest.raises(UserError, match="other settings"):
        run_pool(Other(storage, "theirs"), [Unit(name="u", spec={"seed": 0})], storage, backend=InProcess())


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (Lazy(files={"a": "missing"}), "FileNotFoundError"),
        (Lazy(files={"_commits/a.json": "a"}), "belongs to the pool"),
        (Lazy(files={"a": "a"}, facts={"x": float("nan")}), "not a plain JSON value"),
        (Lazy(files={"a": "a"}, read_back={"a": ("0" * 64, 2)}), "has 1 bytes, and had 2 when it was read back"),
    ],
)
def test_what_cannot_be_published_is_the_units_fault(tmp_path: Path, work: Lazy, reason: str):
    result = run_pool(work, [Unit(name="u", spec={})], LocalStorage(tmp_path), backend=InProcess(), attempts=1)
    assert reason in result.quarantined[0].reason


def test_a_record_says_what_the_work_has_read_back(tmp_path: Path):
    """So a file that changes afterwards differs from its record, where hashing it later would have hidden that."""
    checked = hashlib.sha256(b"b").hexdigest()
    work = Lazy(files={"a": "a", "b": "b"}, read_back={"a": (checked, 1)})
    result = run_pool(work, [Unit(name="u", spec={})], LocalStorage(tmp_path), backend=InProcess())
    assert {key: file.sha256 for key, file in result.commits[0].files.items()} == {"a": checked, "b": checked}
    assert (tmp_path / "a").read_bytes() == b"a"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_folder_that_cannot_be_written_stops_the_pool(tmp_path: Path, backend: PoolBackend):
    (tmp_path / "shards").write_text("in the way")
    with pytest.raises(UserError, match="could not write"):
        run_pool(Digits(marks=tmp_path), units_of(0, 1, 2, 3), LocalStorage(tmp_path), backend=backend)


def test_each_thread_has_its_own_work(tmp_path: Path):
    units = [Unit(name=f"u{number}", spec={"number": number}) for number in range(30)]
    result = run_pool(Buffered(), units, LocalStorage(tmp_path), backend=InProcess(workers=3))
    assert result.quarantined == ()
    assert len({commit.facts["thread"] for commit in result.commits}) == 3
    assert all((tmp_path / "out" / unit.name).read_text() == unit.name for unit in units)


@pytest.mark.parametrize("backend", BACKENDS)
def test_progress_counts_to_the_end(tmp_path: Path, backend: PoolBackend):
    steps: list[Step] = []
    storage = LocalStorage(tmp_path / "out")
    units = [*units_of(0, 1), *units_of(2, fault="error")]
    run_pool(Digits(marks=tmp_path), units_of(0), storage, backend=backend, progress=steps.append)
    assert steps[-1].facts == {}
    steps.clear()
    run_pool(Digits(marks=tmp_path), units, storage, backend=backend, progress=steps.append, task="digits")
    assert (steps[0].task, steps[0].done, steps[0].total) == ("digits", 1, 3)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == 2
    assert steps[-1].facts == {"skipped": 1, "retries": 2, "quarantined": 1}


def test_no_units_is_no_work(tmp_path: Path):
    result = run_pool(Digits(marks=tmp_path), [], LocalStorage(tmp_path / "out"), backend=InProcess())
    assert result.commits == ()


def test_old_temporaries_are_swept_at_the_start(tmp_path: Path):
    rubbish = tmp_path / "shards" / ".tmp-dead"
    rubbish.parent.mkdir()
    rubbish.write_bytes(b"half")
    os.utime(rubbish, (0, 0))
    run_pool(Digits(marks=tmp_path), [], LocalStorage(tmp_path), backend=InProcess())
    assert not rubbish.exists()
