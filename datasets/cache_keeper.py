"""The thread that lets go of cached shards which have to go, so that nobody waits for a process that is busy elsewhere.

A process keeps its shards open between reads; a file in use is not removed. So up to fifty times a second each
process looks whether the files it has open still have their names, and closes those that lost them: evicted, found
damaged, or deleted by somebody. On the way it stamps those that were read from, which orders eviction.
Source: ours. Trade-off: 2 us a file and look, at most a few thousandths of a core, in exchange for locks that are not
taken and dropped at every read.
"""

import threading
from typing import Final

from resight.datasets.cache_folder import stamp
from resight.datasets.open_shard import OpenShard

__all__ = ["Keeper"]

_LOOK_S: Final = 0.02
_LOOK_S_A_FILE: Final = 0.001


class Keeper:
    """Looks after the open shards of one process.

    Args:
        held: sha256 -> open shard; entries are taken out, and the file is closed when its last reader is done.
    """

    def __init__(self, held: dict[str, OpenShard]) -> None:
        self._held = held
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look from now on, in a thread that ends by itself when there is nothing to look after."""
        with self._lock:
            if self._thread is None:
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="resight-cache-keeper", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Let go of everything and end the thread."""
        self._held.clear()
        self._stopped.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def let_go(self) -> None:
        """Close the shards that lost their names; stamp those in use."""
        for sha256, shard in list(self._held.items()):
            if not shard.named():
                self._held.pop(sha256, None)
            elif shard.used:
                shard.used = False
                stamp(shard.handle)

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_S + _LOOK_S_A_FILE * len(self._held)):
            self.let_go()
            if self._ended():
                return
        with self._lock:
            self._thread = None

    def _ended(self) -> bool:
        with self._lock:
            if self._held:
                return False
            self._thread = None
            return True
