"""A lease on a run folder: tells going on after a loss from two runs that write into one folder.

A start takes the next number by making `control/lease-000007.json`, whole and only if nobody else made it; the
highest number holds the folder. So of any two starts one wins, and a holder that sees a higher number than its own has
lost and writes nothing more. A file of a finished run stays, marked as released: the numbers never go back. All it
needs of a storage is "make this object if it is not there", which object stores have too; there are no file locks.

A lease is free when it was released, when its process is gone (asked only on the machine and in the process namespace
that it names; the process's start time tells it from a later one of the same number), or when it was not renewed for
`STALE_S`. That age is the difference of two times which the *file system* wrote, so the machines' clocks may differ.

Source: Gray and Cheriton 1989 (leases); the growing number is the fencing token of Chubby's sequencers (Burrows 2006).
Trade-off: after a machine was lost, another one waits up to a minute.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing
from resight.trainers.lease_shelf import Shelf, shelf_of

__all__ = ["RENEW_S", "STALE_S", "Fence", "LeaseLost", "held"]

RENEW_S: Final = 5.0
STALE_S: Final = 60.0
"""Seconds: how often a lease is renewed, and after how long without it another machine may take the folder."""

_TRIES: Final = 20


class LeaseLost(UserError):  # noqa: N818 - it says what happened
    """Another start has taken this run folder; nothing more is written into it."""


@dataclass(frozen=True, kw_only=True)
class _Holder:
    """Who holds a run folder.

    Attributes:
        host, pid: for people.
        machine: this boot of this machine, and its process namespace; empty where they cannot be told.
        born: when the process started, in the kernel's ticks; tells it from a later one with the same number.
        since: unix seconds, for people.
        attempt: which start of the run this is.
        released: whether it was given back.
    """

    host: str
    pid: int
    machine: str
    born: int
    since: float
    attempt: int
    released: bool = False


@dataclass(frozen=True, kw_only=True)
class Fence:
    """What a writer asks before it writes; can be sent to other processes and machines.

    Attributes:
        control: the run's `control` folder, or its URL, which all share.
        number: the lease's.
    """

    control: Path | str
    number: int

    @cached_property
    def shelf(self) -> Shelf:
        """Where the leases lie."""
        return shelf_of(self.control)

    def check(self) -> None:
        """Raise `LeaseLost` when another start has taken the folder since."""
        newest = _newest(self.shelf)
        if newest > self.number:
            holder = _read(self.shelf, newest)
            by = f" by process {holder.pid} on {holder.host}" if holder else ""
            raise LeaseLost(
                f"this run folder was taken over{by}; this process stops and leaves it alone",
                where=_place(self.control),
                cure="if the other run is not wanted, stop it and start the same command again",
            )


@contextmanager
def held(control: Path | str, *, attempt: int) -> Generator[Fence]:
    """Hold a run folder for the length of a `with` block, renewing the lease from a thread.

    Args:
        control: the run's `control` folder, or its URL; it is made if need be.
        attempt: which start of the run this is, for people.

    Raises:
        UserError: when another process holds it; names host, process, since when, and what to do.
    """
    holder = _self(attempt)
    with writing("the lease", _place(control)):
        shelf = shelf_of(control)
        fence = Fence(control=control, number=_take(shelf, holder, _place(control)))
    for older in shelf.numbers():
        if older < fence.number:
            shelf.remove(older)
    done = threading.Event()
    thread = threading.Thread(target=_renew, args=(fence, holder, done), daemon=True)
    thread.start()
    try:
        yield fence
    finally:
        done.set()
        thread.join()
        _release(fence, holder)


def _take(shelf: Shelf, own: _Holder, where: str) -> int:
    """Make the next number's file, and return it."""
    for _ in range(_TRIES):
        newest = _newest(shelf)
        if newest:
            _refuse_if_held(shelf, newest, where)
        if shelf.make(newest + 1, _text(own)):
            return newest + 1  # else another start was quicker: it is asked in the next round
    raise UserError("too many starts at once in this run folder", where=where, cure="start one at a time")


def _refuse_if_held(shelf: Shelf, number: int, where: str) -> None:
    holder = _read(shelf, number)
    if holder is None or holder.released:
        return
    here = holder.machine != "" and holder.machine == _machine()
    if here and _born(holder.pid) != holder.born:
        return
    age = shelf.age_s(number)
    if not here and age > STALE_S:
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    wait = "" if here else f"; if that machine is gone, try again in {max(1, round(STALE_S - age))} s"
    raise UserError(
        f"another run is writing into this folder: process {holder.pid} on {holder.host}, since {since}",
        where=where,
        cure=f"wait for it, or stop it (kill {holder.pid}), or use another --out{wait}",
    )


def _renew(fence: Fence, holder: _Holder, done: threading.Event) -> None:
    """Write the own file again and again; one that was taken over stays as it is, since its number is the lower."""
    while not done.wait(RENEW_S):
        with contextlib.suppress(OSError, UserError):  # a full disk or a slow network: the next round tries again
            fence.shelf.write(fence.number, _text(holder))


def _release(fence: Fence, holder: _Holder) -> None:
    """Mark the lease as given back. Where that cannot be written, the end of this process says it as well."""
    with contextlib.suppress(OSError, UserError):
        if _newest(fence.shelf) == fence.number:
            fence.shelf.write(fence.number, _text(replace(holder, released=True)))


def _self(attempt: int) -> _Holder:
    return _Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        machine=_machine(),
        born=_born(os.getpid()),
        since=time.time(),
        attempt=attempt,
    )


def _machine() -> str:
    """Return what process numbers are unique in: this boot of the machine and the process namespace; or ""."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> int:
    """Return when a process started, in ticks since the boot; 0 when there is none, or only its remains."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in "ZX" else int(words[19])


def _newest(shelf: Shelf) -> int:
    return max(shelf.numbers(), default=0)


def _read(shelf: Shelf, number: int) -> _Holder | None:
    """Return a lease, or None when it has gone; one that cannot be read counts as some other machine's."""
    text = shelf.read(number)
    try:
        return None if text is None else _Holder(**json.loads(text))
    except (ValueError, TypeError):
        since = time.time() - shelf.age_s(number)
        return _Holder(host="an unknown machine", pid=0, machine="", born=0, since=since, attempt=0)


def _text(holder: _Holder) -> str:
    return json.dumps(asdict(holder))


def _place(control: Path | str) -> str:
    """Return the run folder's place."""
    return str(control).rpartition("/")[0]
