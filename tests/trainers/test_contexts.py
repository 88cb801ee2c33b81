"""Contexts and signals: where a process stands, and how it is told to stop."""

import os
import signal
import threading
from pathlib import Path

import pytest
import torch.distributed as dist

from resight.trainers.contexts.context import Notice
from resight.trainers.contexts.in_process import InProcess, Place, joined, place
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.run_folder import RunFolder
from resight.trainers.signals import StopNote, on_sigterm


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
        with on_sigterm(stop.set):
            os.kill(os.getpid(), signal.SIGTERM)
        assert context.notice() == Notice.STOP


def test_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with on_sigterm(lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def act() -> None:
        with on_sigterm(lambda: None):
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
