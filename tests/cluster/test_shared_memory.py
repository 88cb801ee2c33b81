"""Memory shared by name: found by others, freed with the last of them, whatever ended them."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from resight.cluster.errors import UserError
from resight.cluster.shared_memory import share_memory

SIZE = 3 << 20

JOIN = """
import sys, time
from resight.cluster.shared_memory import share_memory
memory = share_memory(sys.argv[1], int(sys.argv[2]))
memory.data[8] = 8
sys.stdout.write(f"{memory.created} {memory.data[7]}\\n")
sys.stdout.flush()
sys.stdin.read(1)
"""


@contextmanager
def joined(key: str, size: int = SIZE) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Another process with that memory, and what it found: whether it was the first, and byte 7."""
    words = [sys.executable, "-c", JOIN, key, str(size)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def offered(key: str) -> list[str]:
    return [line for line in Path("/proc/net/unix").read_text().splitlines() if key in line]


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_another_process_finds_it(key: str) -> None:
    memory = share_memory(key, SIZE)
    assert memory.created
    assert len(memory.data) == SIZE
    assert not any(memory.data[:100])
    memory.data[7] = 77
    with joined(key) as (_, found):
        assert found == "False 77"
        assert memory.data[8] == 8
        memory.close()
        assert share_memory(key, SIZE).data[7] == 77  # the other one still has it
    memory.close()


def test_it_outlives_its_maker_and_not_its_last_user(key: str) -> None:
    with joined(key) as (maker, found):
        assert found == "True 0"
        with joined(key) as (_, again):
            assert again == "False 0"
            os.kill(maker.pid, signal.SIGKILL)
            maker.wait()
            late = share_memory(key, SIZE)
            assert not late.created
            assert late.data[8] == 8
            late.close()
    assert share_memory(key, SIZE).created


def test_nothing_is_left_when_all_are_killed(key: str) -> None:
    before = set(os.listdir("/dev/shm"))
    with joined(key) as (one, _), joined(key) as (other, _):
        assert len(offered(key)) == 2
        for process in (one, other):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert not offered(key)
    assert set(os.listdir("/dev/shm")) <= before


def test_nothing_is_left_when_it_is_closed_or_forgotten(key: str) -> None:
    memory = share_memory(key, SIZE)
    view = memory.data[:10]
    memory.close()
    memory.close()
    assert not offered(key)
    view[3] = 3
    assert view[3] == 3
    forgotten = share_memory(key, SIZE)
    assert len(offered(key)) == 1
    del forgotten
    assert not offered(key)


def test_other_keys_and_sizes_are_other_memory(key: str) -> None:
    one, other, larger = share_memory(key, SIZE), share_memory(key[::-1], SIZE), share_memory(key, 2 * SIZE)
    assert [memory.created for memory in (one, other, larger)] == [True, True, True]
    one.data[0] = 1
    assert (other.data[0], larger.data[0]) == (0, 0)
    for memory in (one, other, larger):
        memory.close()


def test_only_one_of_many_makes_it(key: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        memories = list(pool.map(lambda _: share_memory(key, SIZE), range(8)))
    assert sum(memory.created for memory in memories) == 1
    memories[0].data[5] = 5
    assert [memory.data[5] for memory in memories] == [5] * 8
    for memory in memories:
        memory.close()


def test_names_that_lie_are_not_believed(key: str) -> None:
    """Anybody can take such a name; what it points at must be this memory."""
    with open("/dev/null", "rb") as null, socket.socket(socket.AF_UNIX) as liar, socket.socket(socket.AF_UNIX) as gone:
        start = f"\0resight-memory/{os.getuid()}/{key}-{SIZE}"
        liar.bind(f"{start}/{os.getpid()}/{null.fileno()}")
        gone.bind(f"{start}/4194303/3")
        memory = share_memory(key, SIZE)
        assert memory.created
        memory.close()


def test_a_process_that_hangs_while_it_joins_is_not_waited_for_for_ever(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resight.cluster.shared_memory._WAIT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(f"\0resight-memory/{os.getuid()}/{key}-{SIZE}/joining")
        start = time.monotonic()
        with pytest.raises(UserError, match="cannot be shared") as caught:
            share_memory(key, SIZE)
        assert time.monotonic() - start < 5
    assert "--data.no-share-decoded" in caught.value.cure
