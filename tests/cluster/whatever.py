"""What every pool of worker processes must come through, with the result of a pool in this process."""

from dataclasses import replace
from pathlib import Path

from resight.cluster.pool import Commit, InProcess, PoolBackend, run_pool
from resight.cluster.storage import LocalStorage
from tests.cluster.works import Digits, tree, units_of


def without_attempt(commits: tuple[Commit, ...]) -> list[Commit]:
    return [replace(commit, attempt=1) for commit in commits]


def whatever_happens(tmp_path: Path, backend: PoolBackend) -> None:
    """Errors, deaths and a poisoned unit on workers; the same units, without deaths, in this process."""
    local, apart = LocalStorage(tmp_path / "local"), LocalStorage(tmp_path / "apart")
    calm, failing = units_of(0, 1, 2, 3), units_of(4, fault="error")
    late, dying = units_of(5, fault="error", once=True), units_of(6, fault="die", once=True)
    poisoned = units_of(7, fault="die")
    units = [*dying, *calm[:2], *poisoned, *failing, *late, *calm[2:]]
    (tmp_path / "there").mkdir()
    done = run_pool(Digits(marks=tmp_path / "there"), units, apart, backend=backend, attempts=2, losses=3)

    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / dying[0].name).touch()  # here it would end the tests
    here = [unit for unit in units if unit not in poisoned]
    wanted = run_pool(Digits(marks=tmp_path / "marks"), here, local, backend=InProcess(), attempts=2)

    assert without_attempt(done.commits) == without_attempt(wanted.commits)
    assert {commit.name: commit.attempt for commit in done.commits if commit.attempt > 1} == {
        dying[0].name: 2,
        late[0].name: 2,
    }
    assert [(each.name, each.attempts) for each in done.quarantined] == [(poisoned[0].name, 3), (failing[0].name, 2)]
    assert done.quarantined[0].reason.startswith("the worker process died: ")
    assert done.quarantined[1] == wanted.quarantined[0]
    assert done.retries == 5
    published = {key: data for key, data in tree(apart.root).items() if not key.startswith("_commits/")}
    assert published == {key: data for key, data in tree(local.root).items() if not key.startswith("_commits/")}
