"""Contexts and signals: where a process stands, and how it is told to stop."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from resight.trainers.contexts.context import Notice
from resight.trainers.contexts.in_process import InProcess, Place, joined, place
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.run_folder import RunFolder
from resight.trainers.signals import StopNote, on_stop


def test_place_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert place() == Place(rank=0, world=1, local_rank=0)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert place() == Place(rank=5, world=8, local_rank=1)


def test_a_process_alone_joins_nothing() -> None:
    with joined(Place(), cuda=False):
        assert not dist.is_initialized()


def test_stop_is_noticed(tmp_path: Path) -> None:
    stop = threading.Event()
    with Recorder(RunFolder(tmp_path), rank=0, keep_last=1) as recorder:
        context = InProcess(recorder, Place(), stop)
        assert context.checkpoint() is None
        assert context.notice() == Notice.NONE
        with on_stop(stop.set):
            os.kill(os.getpid(), signal.SIGTERM)
        assert context.notice() == Notice.STOP


def test_ctrl_c_asks_first_and_insists_later(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """torchrun hands on the signal that the terminal has sent already: at once it is the same request."""
    asked: list[int] = []
    with on_stop(lambda: asked.append(1)) as told:
        assert not told.interrupted
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert told.interrupted
        assert asked == [1]
        assert "Ctrl-C again stops at once" in caplog.text
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 2.1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(caplog.records) == 1


def test_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with on_stop(lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before[0]
        assert signal.getsignal(signal.SIGINT) != before[1]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def act() -> None:
        with on_stop(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_note_is_left_and_taken_back(tmp_path: Path) -> None:
    note = StopNote(tmp_path / "run" / "control")
    assert not note
    note.clear()
    note.leave()
    assert note
    note.clear()
    assert not note
