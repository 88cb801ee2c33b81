"""Worker processes of this machine: they die, the driver dies, work cannot be loaded; nothing is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, Processes, Unit, run_pool
from resight.cluster.storage import LocalStorage
from tests.cluster.whatever import whatever_happens
from tests.cluster.works import Buffered, Digits, Lazy, Stubborn, Unloadable, WhoMade, tree, units_of


def units(count: int) -> list[Unit]:
    return [Unit(name=f"u{number}", spec={"number": number}) for number in range(count)]


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_whatever_happens_the_result_is_that_of_one_process(tmp_path: Path) -> None:
    before = children()
    whatever_happens(tmp_path, Processes(workers=2))
    assert children() <= before


def test_work_is_done_in_other_processes_each_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("RESIGHT_MARK", "mine")
    result = run_pool(WhoMade(), units(6), LocalStorage(tmp_path), backend=Processes(workers=2))
    facts = [commit.facts for commit in result.commits]
    assert os.getpid() not in {fact["pid"] for fact in facts}
    assert {(fact["mark"], fact["threads"]) for fact in facts} == {("mine", "1")}


def test_no_more_workers_are_started_than_there_are_units(tmp_path: Path) -> None:
    before = set(psutil.Process().children())  # servers of other tests
    with Processes(workers=5).standing() as backend, backend.crew(WhoMade(), LocalStorage(tmp_path)) as crew:
        assert crew.wait(2) == []
        assert len(set(psutil.Process().children()) - before) == 2


def test_a_work_keeps_its_own_state(tmp_path: Path) -> None:
    result = run_pool(Buffered(), units(12), LocalStorage(tmp_path), backend=Processes(workers=2))
    assert result.quarantined == ()


def test_standing_workers_serve_several_pools(tmp_path: Path) -> None:
    makers: list[set[int]] = []
    with Processes(workers=1).standing() as backend:
        for name in ("a", "b"):
            result = run_pool(WhoMade(), units(2), LocalStorage(tmp_path / name), backend=backend)
            makers.append({commit.facts["pid"] for commit in result.commits})
        done = run_pool(Digits(marks=tmp_path), units_of(0), LocalStorage(tmp_path / "c"), backend=backend)
    assert len(makers[0]) == 1
    assert makers[0] == makers[1]
    run_pool(Digits(marks=tmp_path), units_of(0), LocalStorage(tmp_path / "d"), backend=InProcess())
    assert len(done.commits) == 1
    assert tree(tmp_path / "c") == tree(tmp_path / "d")
    assert not psutil.pid_exists(makers[0].pop())


def test_a_pool_that_was_stopped_leaves_standing_workers_fit_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "shards").write_text("in the way")
    with Processes(workers=2).standing() as backend:
        for _ in range(2):
            with pytest.raises(UserError, match="could not write"):
                run_pool(Digits(marks=tmp_path), units_of(0, 1, 2), LocalStorage(tmp_path / "full"), backend=backend)
        done = run_pool(Digits(marks=tmp_path), units_of(0, 1, 2), LocalStorage(tmp_path / "out"), backend=backend)
    assert len(done.commits) == 3


def test_work_that_cannot_be_loaded_stops_the_pool(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)3 workers in a row could not start: .*a library is missing here"):
        run_pool(Unloadable(), units(2), LocalStorage(tmp_path), backend=Processes(workers=2))


def test_workers_that_cannot_even_start_stop_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"3 workers in a row could not start: .*died: exit code 1"):
        run_pool(Digits(marks=tmp_path), units_of(0), LocalStorage(tmp_path), backend=Processes(workers=1))


def test_an_error_that_cannot_travel_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="OwnWords: this and that") as caught:
        run_pool(Lazy(files={"x": "x"}), units(1), Stubborn(tmp_path), backend=Processes(workers=1))
    assert "in publish_file" in caught.value.__notes__[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_ended_leaves_no_process_and_no_scratch(tmp_path: Path, number: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "tests.cluster.pool_driver", str(tmp_path / "out"), "4", "2", "processes", "60"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(scratch.glob("resight-scratch-*/data"))) == 2)
    workers = psutil.Process(driver.pid).children()
    assert len(workers) == 2
    driver.send_signal(number)
    driver.wait(10)
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    assert list(scratch.iterdir()) == []
