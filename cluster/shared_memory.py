"""Memory that processes of this machine share by name, and that cannot be left behind.

The memory is an anonymous file (memfd): it has no name in any file system, and the system frees it with its last
user, whatever ended that. So that others find it, each user holds an abstract Unix socket whose *name* says which
memory, process and descriptor: `resight-memory/UID/KEY/PID/DESCRIPTOR`. Such names vanish with their process too.
Who wants to join reads /proc/net/unix and opens /proc/PID/fd/DESCRIPTOR; any user that is alive will do. Nothing is
ever sent over the sockets. The size of /dev/shm does not matter, free memory does.
Source: Linux: memfd_create(2), unix(7) on abstract names, proc(5). `multiprocessing.shared_memory` leaves its segment
behind when all users are killed, and its resource tracker removes segments that others still use (Python 3.11).
Trade-off: Linux only; processes see each other within one user, one network and one process namespace, otherwise each
has memory of its own.
"""

import errno
import mmap
import os
import socket
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError

__all__ = ["SharedMemory", "share_memory"]

_PREFIX: Final = "resight-memory"
_NAMES: Final = Path("/proc/net/unix")
_WAIT_S: Final = 20.0


class SharedMemory:
    """Zeroed memory that this process shares (make it with `share_memory`).

    Args:
        handle: descriptor of the memory, owned from now on.
        name: descriptor of the socket by which others find it, owned from now on.
        created: whether this process was the first.

    Attributes:
        data: the memory. Views of it stay valid after `close`.
        created: as given.
    """

    def __init__(self, handle: int, name: int, *, created: bool) -> None:
        self.data = memoryview(mmap.mmap(handle, 0))
        self.created = created
        self._end = weakref.finalize(self, _close, handle, name)

    def close(self) -> None:
        """Stop offering the memory; it is freed with the last view, here and elsewhere."""
        self.data = memoryview(b"")
        self._end()


def _close(*handles: int) -> None:
    for handle in handles:
        os.close(handle)


def share_memory(key: str, size: int) -> SharedMemory:
    """Join the memory of that key and size if a process of this user has it, or else make it.

    Args:
        key: letters and digits, at most 40.
        size: bytes, > 0; memory is taken page by page, when it is first written to.

    Raises:
        UserError: when the system has no such memory, or another process hangs while it joins.
    """
    assert key.isalnum(), key
    assert len(key) <= 40, key
    full = f"{key}-{size}"
    try:
        with _joining(full):
            handle = next(_offered(full, size), None)
            created = handle is None
            if handle is None:
                handle = os.memfd_create(f"{_PREFIX}-{key}", os.MFD_CLOEXEC)
                os.ftruncate(handle, size)
            name = _named(full, str(os.getpid()), str(handle)).detach()
            return SharedMemory(handle, name, created=created)
    except OSError as error:
        raise UserError(
            f"{size:,} bytes of memory cannot be shared between processes: {error.strerror}",
            where="shared memory",
            cure="end processes that hang; --data.no-share-decoded gives each worker a cache of its own instead",
        ) from error


def _offered(key: str, size: int) -> Iterator[int]:
    """Yield descriptors of the memory as its living users offer it."""
    start = f"@{_name(key)}/"
    for line in _NAMES.read_text(encoding="utf-8", errors="replace").splitlines():
        name = line.rpartition(" ")[2]
        pid, _, number = name.removeprefix(start).partition("/")
        if not name.startswith(start) or not (pid.isdigit() and number.isdigit()):
            continue
        try:
            handle = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # it has just ended, or is another user's that took the name
            continue
        if _is_ours(handle, key, size):
            yield handle
        else:
            os.close(handle)


def _is_ours(handle: int, key: str, size: int) -> bool:
    link = os.readlink(f"/proc/self/fd/{handle}")
    return link.startswith(f"/memfd:{_PREFIX}-{key.partition('-')[0]} ") and os.fstat(handle).st_size == size


@contextmanager
def _joining(key: str) -> Generator[None]:
    """Exclude other processes from joining or making the same memory at the same time."""
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            lock = _named(key, "joining")
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            time.sleep(0.005)
    with lock:
        yield


def _named(*parts: str) -> socket.socket:
    """Return a socket that holds a name; OSError when somebody has it."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        held.bind("\0" + "/".join((_name(parts[0]), *parts[1:])))
    except OSError:
        held.close()
        raise
    return held


def _name(key: str) -> str:
    return f"{_PREFIX}/{os.getuid()}/{key}"
