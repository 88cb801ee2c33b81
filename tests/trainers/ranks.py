"""Run a function on 1 to 4 gloo ranks: child processes that live as long as the test session.

They are forked from a server that has imported what takes long and run nothing, so four cost little more than one.

`ranks.run(world, function, *arguments)` calls `function(*arguments)` on each of the first `world` children, inside a
process group of that size, and returns their results in the order of ranks. The function must be at the top level of
a module. An exception in any rank is raised here.
"""

import multiprocessing
import os
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 4
TIMEOUT_S = 280


class Ranks:
    """Children, started when they are first needed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ranks-")
        self._children: list[tuple[BaseProcess, Any]] = []

    def run(self, world: int, function: Callable[..., T], *arguments: Any) -> list[T]:
        assert 1 <= world <= MOST
        while len(self._children) < world:
            self._start()
        store = str(Path(self._folder.name) / uuid.uuid4().hex)
        for rank, (_, pipe) in enumerate(self._children[:world]):
            pipe.send((function, arguments, rank, world, store))
        return self._collect(world)

    def close(self) -> None:
        for child, pipe in self._children:
            if child.is_alive():
                pipe.send(None)
        for child, _ in self._children:
            child.join(10)
            child.kill()
        self._folder.cleanup()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch._dynamo", "resight.trainers.fit", "tests.trainers.toy"])
        ours, theirs = context.Pipe()
        child = context.Process(target=_serve, args=(theirs,), daemon=True)
        child.start()
        theirs.close()
        self._children.append((child, ours))

    def _collect(self, world: int) -> list[Any]:
        answers: list[tuple[bool, Any]] = []
        for child, pipe in self._children[:world]:
            if not pipe.poll(TIMEOUT_S):
                self._children, gone = [], self._children
                for process, _ in gone:
                    process.kill()
                raise AssertionError(f"{child.name} gave no answer within {TIMEOUT_S} s; so far: {answers}")
            answers.append(pipe.recv())
        failures = [answer for failed, answer in answers if failed]
        if failures:
            raise AssertionError("\n".join(failures))
        return [answer for _, answer in answers]


def _serve(pipe: Connection) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import torch

    torch.set_num_threads(1)
    while (job := pipe.recv()) is not None:
        pipe.send(_answer(*job))
    if "coverage" in sys.modules:  # a forked child ends without its parent's exit handlers
        import coverage

        measured = coverage.Coverage.current()
        if measured is not None:
            measured.save()


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...], rank: int, world: int, store: str) -> Any:
    import torch.distributed as dist

    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
        try:
            return False, function(*arguments)
        finally:
            dist.destroy_process_group()
    except BaseException:  # noqa: BLE001 - told to the test that asked
        return True, f"rank {rank}:\n{traceback.format_exc()}"
