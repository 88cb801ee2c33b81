"""The lease on a run folder, with real processes: of two starts one wins, a dead holder frees it, others wait."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resight.cluster.errors import UserError
from resight.trainers.checkpoint import Position
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.lease import STALE_S, Fence, LeaseLost, held
from resight.trainers.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from resight.trainers.lease import held
from resight.cluster.errors import UserError
print("ready", flush=True)
while time.time() < float(sys.argv[2]):
    pass
try:
    with held(Path(sys.argv[1]), attempt=1) as fence:
        print("held", fence.number, flush=True)
        sys.stdin.read()
except UserError as error:
    print("refused", error.problem, flush=True)
"""


def process(control: Path, *, at: float = 0.0) -> subprocess.Popen[str]:
    """A process that holds `control` until its input ends, and says so."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    words = [sys.executable, "-c", HOLD, str(control), str(at)]
    return subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes)  # type: ignore[call-overload]


def says(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def end(started: subprocess.Popen[str]) -> None:
    started.kill()
    started.communicate()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A live process that holds `tmp_path`/control."""
    started = process(tmp_path / "control")
    assert [says(started), says(started)] == ["ready", "held 1"]
    yield started
    end(started)


def leases(control: Path) -> list[str]:
    return sorted(path.name for path in control.iterdir())


def foreign(control: Path, *, seconds_ago: float, number: int = 1, **facts: Any) -> Path:
    """A lease that another machine renewed last so long ago."""
    control.mkdir(parents=True, exist_ok=True)
    path = control / f"lease-{number:06d}.json"
    known = {"host": "elsewhere", "pid": os.getpid(), "machine": "other boot", "born": 1, "since": 1e9, "attempt": 1}
    path.write_text(json.dumps({**known, **facts}))
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def test_one_after_the_other(tmp_path: Path) -> None:
    control = tmp_path / "run" / "control"
    for number in (1, 2, 3):
        with held(control, attempt=number) as fence:
            assert fence.number == number
            fence.check()
            assert leases(control) == [f"lease-{number:06d}.json"]
    assert json.loads((control / "lease-000003.json").read_text())["released"] is True


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), held(tmp_path, attempt=1):
        raise RuntimeError("boom")
    with held(tmp_path, attempt=2) as fence:
        assert fence.number == 2


def test_a_live_holder_is_named(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    control = tmp_path / "control"
    before = (control / "lease-000001.json").read_bytes()
    with pytest.raises(UserError, match=f"process {holder.pid} on .*, since 20") as caught, held(control, attempt=2):
        pass
    assert "--out" in caught.value.cure
    assert f"kill {holder.pid}" in caught.value.cure
    assert caught.value.where == str(tmp_path)
    assert leases(control) == ["lease-000001.json"]
    assert (control / "lease-000001.json").read_bytes() == before


@pytest.mark.parametrize("wait", [False, True])
def test_a_killed_holder_frees_it_at_once(holder: subprocess.Popen[str], tmp_path: Path, wait: bool) -> None:
    """Also while its parent has not collected it yet."""
    holder.send_signal(signal.SIGKILL)
    if wait:
        holder.wait()
    else:
        stat = Path(f"/proc/{holder.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
    with held(tmp_path / "control", attempt=2) as fence:
        assert fence.number == 2


def test_another_process_with_the_same_number_is_not_the_holder(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    path = tmp_path / "control" / "lease-000001.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "born": known["born"] - 1}))
    with held(tmp_path / "control", attempt=2) as fence:
        assert fence.number == 2


def test_another_machine_is_waited_for(tmp_path: Path) -> None:
    """This machine has a process of that number too, which says nothing about the other one's."""
    path = foreign(tmp_path, seconds_ago=20)
    with pytest.raises(UserError, match="on elsewhere, since 2001") as caught, held(tmp_path, attempt=2):
        pass
    wait = int(caught.value.cure.split("try again in ")[1].split()[0])
    assert wait == pytest.approx(STALE_S - 20, abs=3)
    assert leases(tmp_path) == [path.name]


def test_another_machine_that_has_gone_is_not(tmp_path: Path) -> None:
    foreign(tmp_path, seconds_ago=STALE_S + 5, number=7)
    with held(tmp_path, attempt=2) as fence:
        assert fence.number == 8


def test_what_other_machines_take_for_the_time_does_not_matter(tmp_path: Path) -> None:
    """The record says 1970 or 2100; the file was written now."""
    for since in (0.0, 4e9):
        foreign(tmp_path, seconds_ago=0, since=since)
        with pytest.raises(UserError, match="another run is writing"), held(tmp_path, attempt=2):
            pass


def test_a_lease_that_cannot_be_read_counts_as_somebody_s(tmp_path: Path) -> None:
    path = tmp_path / "lease-000001.json"
    path.write_text("")
    with pytest.raises(UserError, match="an unknown machine"), held(tmp_path, attempt=1):
        pass
    os.utime(path, (1, 1))
    with held(tmp_path, attempt=1) as fence:
        assert fence.number == 2


def test_renewing_keeps_it_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resight.trainers.lease.RENEW_S", 0.02)
    with held(tmp_path, attempt=1):
        path = tmp_path / "lease-000001.json"
        os.utime(path, (1, 1))
        limit = time.monotonic() + 20
        while path.stat().st_mtime == 1:
            assert time.monotonic() < limit
            time.sleep(0.01)


def test_of_starts_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    """Five rounds of four processes that start to the microsecond."""
    for turn in range(5):
        control = tmp_path / str(turn) / "control"
        start = time.time() + 1.0
        started = [process(control, at=start) for _ in range(4)]
        try:
            assert [says(each) for each in started] == ["ready"] * 4
            answers = sorted(says(each) for each in started)
            assert answers[0].startswith("held 1"), answers
            assert all("another run is writing" in answer for answer in answers[1:]), answers
            assert [name for name in leases(control) if not name.startswith(".")] == ["lease-000001.json"]
        finally:
            for each in started:
                end(each)


def test_who_lost_it_writes_nothing_more(tmp_path: Path) -> None:
    """The holder was cut off for too long and another machine took over: its next checkpoint and event are refused."""
    run = RunFolder(tmp_path)
    with held(run.control, attempt=1) as fence, Recorder(run, rank=0, keep_last=1, fence=fence) as recorder:
        recorder.report("start", {"epoch": 0, "step": 0, "steps_total": 3})
        foreign(run.control, seconds_ago=0, number=2, pid=5)
        before = run.events_file().read_bytes()
        with pytest.raises(LeaseLost, match="taken over by process 5 on elsewhere"):
            recorder.save(lambda folder: pytest.fail("this folder is another's"), Position(epoch=0, step=1))
    assert run.events_file().read_bytes() == before
    assert json.loads((run.control / "lease-000002.json").read_text())["host"] == "elsewhere"
    with pytest.raises(LeaseLost):
        Recorder(run, rank=0, keep_last=1, fence=Fence(control=run.control, number=1))
