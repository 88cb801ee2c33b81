"""A worker process of the local pool: loads a work, makes the units it is sent, answers on the same line.

The line is a socket to the driver, and it is the worker's life too: at its end, whatever ended the driver, the worker
leaves, removing its scratch folder on the way. So it does at SIGTERM. Trade-off against asking the kernel for a signal
at the parent's death: works on every system, whichever thread of the driver started the worker, and costs a thread
that waits.
"""

import os
import pickle
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final, TypeAlias

from resight.cluster.attempt import Outcome, Task, make, reason_of
from resight.cluster.scratch import sweep_scratch
from resight.cluster.storage import Storage
from resight.cluster.units import Work

__all__ = ["Answer", "Load", "Order", "Raised", "Ready", "Unloadable", "main"]

_GRACE_S: Final = 5.0  # for a native call that does not come back to notice the signal


@dataclass(frozen=True, kw_only=True)
class Load:
    """Get ready for another work.

    Attributes:
        pickled: the work and its storage; pickled apart, so that one that cannot be loaded here can be told.
    """

    pickled: bytes


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The work is loaded."""


@dataclass(frozen=True, kw_only=True)
class Unloadable:
    """The work cannot be loaded here.

    Attributes:
        reason: exception type and message, then the last frames.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Raised:
    """Publishing failed, which is not the unit's fault.

    Attributes:
        error: what to raise in the driver.
        reason: with the frames, which an exception leaves behind when it travels.
    """

    error: Exception
    reason: str


Order: TypeAlias = Load | Task
Answer: TypeAlias = Ready | Unloadable | Raised | Outcome


def main(handle: int) -> None:
    """Serve the driver at the other end of the socket `handle` until it hangs up."""
    os.set_inheritable(handle, False)
    signal.signal(signal.SIGTERM, _leave)
    line: Connection[Answer, Order] = Connection(handle)
    orders: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_listen, args=(line, orders), daemon=True).start()
    sweep_scratch()
    _serve(line, orders)


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind the main thread, through whatever cleans up; a second signal must not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _listen(line: "Connection[Answer, Order]", orders: "SimpleQueue[Order]") -> None:
    """Pass on what the driver says, and end this process when the driver is gone."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    try:
        while True:
            orders.put(line.recv())
    except (EOFError, OSError):
        signal.pthread_kill(main_thread, signal.SIGTERM)  # to that thread: only then does it stop waiting
        time.sleep(_GRACE_S)
        os._exit(1)


def _serve(line: "Connection[Answer, Order]", orders: "SimpleQueue[Order]") -> None:
    job: tuple[Work, Storage] | None = None
    while True:
        order = orders.get()
        if isinstance(order, Load):
            job, answer = _load(order)
        else:
            assert job is not None
            answer = _make(*job, order)
        line.send(answer)


def _load(order: Load) -> tuple[tuple[Work, Storage] | None, Answer]:
    try:
        job: Any = pickle.loads(order.pickled)  # noqa: S301 - pickled by the driver, this process's parent
    except Exception as error:  # noqa: BLE001 - importing a work's module can raise anything; the driver is told
        return None, Unloadable(reason=reason_of(error))
    return job, Ready()


def _make(work: Work, storage: Storage, task: Task) -> Answer:
    try:
        return make(work, task, storage)
    except Exception as error:  # noqa: BLE001 - raised again by the driver
        reason = reason_of(error)
        return Raised(error=error if _travels(error) else RuntimeError(reason), reason=reason)


def _travels(error: Exception) -> bool:
    """Return whether an exception survives pickling; many with a constructor of their own do not."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - pickled in the same line
    except Exception:  # noqa: BLE001 - whatever its class's code raises
        return False
    return True
