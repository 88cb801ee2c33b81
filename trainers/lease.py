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
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError
from resight.cluster.refusal import writing

__all__ = ["RENEW_S", "STALE_S", "Fence", "LeaseLost", "held"]

RENEW_S: Final = 5.0
STALE_S: Final = 60.0
"""Seconds: how often a lease is renewed, and after how long without it another machine may take the folder."""

_PATTERN: Final = "lease-*.json"
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
        control: the run's `control` folder, which all share.
        number: the lease's.
    """

    control: Path
    number: int

    def check(self) -> None:
        """Raise `LeaseLost` when another start has taken the folder since."""
        newest = _newest(self.control)
        if newest > self.number:
            holder = _read(_file(self.control, newest))
            by = f" by process {holder.pid} on {holder.host}" if holder else ""
            raise LeaseLost(
                f"this run folder was taken over{by}; this process stops and leaves it alone",
                where=str(self.control.parent),
                cure="if the other run is not wanted, stop it and start the same command again",
            )


@contextmanager
def held(control: Path, *, attempt: int) -> Generator[Fence]:
    """Hold a run folder for the length of a `with` block, renewing the lease from a thread.

    Args:
        control: the run's `control` folder; it is made if need be.
        attempt: which start of the run this is, for people.

    Raises:
        UserError: when another process holds it; names host, process, since when, and what to do.
    """
    holder = _self(attempt)
    with writing("the lease", control.parent):
        control.mkdir(parents=True, exist_ok=True)
        fence = Fence(control=control, number=_take(control, holder))
    for older in control.glob(_PATTERN):
        if _number(older) < fence.number:
            older.unlink(missing_ok=True)
    done = threading.Event()
    thread = threading.Thread(target=_renew, args=(fence, holder, done), daemon=True)
    thread.start()
    try:
        yield fence
    finally:
        done.set()
        thread.join()
        _release(fence, holder)


def _take(control: Path, own: _Holder) -> int:
    """Make the next number's file, and return it."""
    for _ in range(_TRIES):
        newest = _newest(control)
        if newest:
            _refuse_if_held(_file(control, newest))
        if _make(_file(control, newest + 1), json.dumps(asdict(own))):
            return newest + 1  # else another start was quicker: it is asked in the next round
    raise UserError("too many starts at once in this run folder", where=str(control.parent), cure="start one at a time")


def _make(path: Path, text: str) -> bool:
    """Make a file, whole, only if it is not there; tell whether this call made it."""
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex}")
    temporary.write_text(text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: for a moment the file is empty, and counts as held
        try:
            with path.open("x") as file:
                file.write(text)
        except FileExistsError:
            return False
    finally:
        temporary.unlink()
    return True


def _refuse_if_held(path: Path) -> None:
    holder = _read(path)
    if holder is None or holder.released:
        return
    here = holder.machine != "" and holder.machine == _machine()
    if here and _born(holder.pid) != holder.born:
        return
    age = _age_s(path)
    if not here and age > STALE_S:
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    wait = "" if here else f"; if that machine is gone, try again in {max(1, round(STALE_S - age))} s"
    raise UserError(
        f"another run is writing into this folder: process {holder.pid} on {holder.host}, since {since}",
        where=str(path.parent.parent),
        cure=f"wait for it, or stop it (kill {holder.pid}), or use another --out{wait}",
    )


def _renew(fence: Fence, holder: _Holder, done: threading.Event) -> None:
    """Write the own file again and again; one that was taken over stays as it is, since its number is the lower."""
    while not done.wait(RENEW_S):
        with contextlib.suppress(OSError):  # a full disk or a slow network: the next round tries again
            _write(_file(fence.control, fence.number), asdict(holder))


def _release(fence: Fence, holder: _Holder) -> None:
    """Mark the lease as given back. Where that cannot be written, the end of this process says it as well."""
    if _newest(fence.control) == fence.number:
        with contextlib.suppress(OSError):
            _write(_file(fence.control, fence.number), asdict(replace(holder, released=True)))


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


def _age_s(path: Path) -> float:
    """Return how long ago a file was written, by the clock of its file system; 0 when it has gone."""
    probe = path.with_name(f".tmp-now-{uuid.uuid4().hex}")
    probe.write_text("")
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink()


def _newest(control: Path) -> int:
    return max(map(_number, control.glob(_PATTERN)), default=0)


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("lease-")
    return int(digits) if digits.isdigit() else 0


def _file(control: Path, number: int) -> Path:
    return control / f"lease-{number:06d}.json"


def _read(path: Path) -> _Holder | None:
    """Return a lease, or None when it has gone; one that cannot be read counts as some other machine's."""
    try:
        return _Holder(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return _Holder(host="an unknown machine", pid=0, machine="", born=0, since=path.stat().st_mtime, attempt=0)


def _write(path: Path, value: dict[str, object]) -> None:
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex}")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)
