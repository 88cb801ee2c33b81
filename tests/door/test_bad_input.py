"""Bad input, as users give it: a table of what is wrong, and the error that each must get.

An error names the value, the place and the cure, leaves with exit code 2 and without a traceback, and harms nothing
that was published before. What only looks bad works, or is left out and counted; the table says which.
"""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from resight.cli.app import run
from resight.trainers.checkpoint import verify
from resight.trainers.run_folder import RunFolder
from tests.door import spoiling as s
from tests.door.bad_inputs import ERRORS, Row
from tests.door.legal_inputs import LEGAL, Works
from tests.door.spoiling import Words, World
from tests.tracing import untraced

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Crops, the data set packed from them, and a run of two epochs."""
    home = tmp_path_factory.mktemp("shared")
    places = {name: home / name for name in ("crops", "data", "run")}
    with ExitStack() as stack:
        world = World(published=[], here=home, at_end=stack, **places)
        s.do("pack", "folder", s.good_crops(world.crops), "--out", world.data, "--quiet")
        s.do(*world.train(world.data))
    return places


@pytest.fixture
def world(shared: dict[str, Path], tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(published=[*shared.values()], here=tmp_path, at_end=stack, **shared)


def outcome(words: Words, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command as the door does; return its exit code and all it said."""
    capsys.readouterr()
    try:
        code = run([str(word) for word in words])
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    told = capsys.readouterr()
    return code, told.out + told.err


def sums(published: list[Path]) -> dict[Path, str]:
    files = (path for folder in published for path in (folder, *folder.rglob("*")) if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row.name)
def test_it_is_told_and_nothing_is_harmed(row: Row, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    words = row.words(world)
    before = sums(world.published)
    code, told = outcome(words, capsys)
    assert code == 2, told
    assert "Traceback" not in told
    places = {"here": world.here, "data": world.data, "run": world.run}
    block = told if row.boxed else _block(told)
    parts = [block] * 3 if row.boxed else list(re.split(r"\n  (?:where|cure) +", block))
    for part, needed in zip(parts, (row.value, row.place, row.cure), strict=True):
        assert needed.format(**places) in part, told
    assert sums(world.published) == before
    if row.mended is not None:
        row.mended(world)
        assert outcome(words, capsys)[0] == 0
        assert before.items() <= sums(world.published).items()


@pytest.mark.parametrize("row", LEGAL, ids=lambda row: row.name)
def test_it_works_or_is_counted(row: Works, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    words = row.words(world)
    code, told = outcome(words, capsys)
    assert code == row.code, told
    for seen in row.seen:
        assert seen.replace("{here}", str(world.here)) in told
    assert "Traceback" not in told


def _block(told: str) -> str:
    """The error: from its first word to the end."""
    assert "error: " in told, told
    return told[told.index("error: ") :]


def start(words: Words, *before: str) -> "subprocess.Popen[str]":
    """Run a command in a process of its own."""
    line = [sys.executable, *before, "-m", "resight", *(str(word) for word in words)]
    environment = {**untraced(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_family(process: "subprocess.Popen[str]") -> None:
    """End a launcher and its ranks, which would go on without it."""
    with suppress(psutil.NoSuchProcess):
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
    process.kill()
    process.communicate()


def until(held: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def stepped(run: RunFolder, rank: int = 0) -> bool:
    return any(event["event"] == "step" for event in run.events(rank))


def test_two_runs_on_one_folder(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The second is told who holds the folder; the first goes on. It is halted meanwhile, to be there for certain."""
    words = world.train(world.data, "--sampler.steps-per-epoch", "200")
    first, folder = start(words), RunFolder(world.here / "run")
    try:
        until(lambda: stepped(folder))
        first.send_signal(signal.SIGSTOP)
        code, told = outcome(words, capsys)
        first.send_signal(signal.SIGCONT)
        first.terminate()
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.communicate()
    assert code == 2
    assert "Traceback" not in told
    assert str(folder.path) in told
    assert socket.gethostname() in told
    assert str(first.pid) in told
    assert "cure" in told
    assert folder.attempts() == 1


def test_a_rank_that_dies(world: World) -> None:
    """torchrun ends the other rank, names the one that died and leaves with an error; what was saved is whole."""
    words = world.train(world.data, "--sampler.steps-per-epoch", "100000", "--run.checkpoint-every-steps", "2")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process, folder = start(words, *launcher), RunFolder(world.here / "run")
    try:
        until(lambda: stepped(folder, rank=1) and folder.latest() is not None)
        died = time.monotonic()
        os.kill(next(folder.events(rank=1))["pid"], signal.SIGKILL)
        told, _ = process.communicate(timeout=60)
    finally:
        kill_family(process)
    assert time.monotonic() - died < 60
    assert process.returncode not in (0, 2)
    assert re.search(r"rank +: 1 \(local_rank: 1\)", told), told
    assert "error: another rank ended" in told
    assert "[rank0]: Traceback" not in told
    assert "start the same command again" in told
    saved = folder.latest()
    assert saved is not None
    verify(saved)
