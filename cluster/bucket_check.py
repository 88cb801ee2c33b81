"""Whether a bucket does what storage needs of it, tried with a small object; one line of `resight doctor`."""

import threading
import time
import uuid

from resight.cluster.check import Check
from resight.cluster.errors import UserError
from resight.cluster.storage import Storage, open_storage

__all__ = ["check_bucket"]

_RIVALS = 8


def check_bucket(url: str) -> Check:
    """Publish, read, list and remove a small object, and see whether one of several publishers at once wins."""
    key = f"resight-doctor-{uuid.uuid4().hex}"
    try:
        storage, begun = open_storage(url), time.monotonic()
        storage.publish(b"0123", key)
        whole = storage.read_range(key, 1, 2) == b"12" and storage.sizes(key) == {key: 4}
        storage.delete(key)
        took_ms = (time.monotonic() - begun) / 4 * 1000
        won = _winners(storage, f"{key}-once")
    except UserError as error:
        return Check(name="bucket", status="fail", detail=f"{url}: {error.problem}", cure=error.cure)
    if not whole:
        cure = "use a server that gives ranges and lists what was written"
        return Check(name="bucket", status="fail", detail=f"{url}: what was written is not what is read", cure=cure)
    detail = f"{url}: readable and writable, {took_ms:.0f} ms a request"
    if won > 1:
        cure = "start one run at a time in a place, or use a server that decides If-None-Match in one step"
        return Check(
            name="bucket", status="warn", detail=f"{detail}; {won} of {_RIVALS} publishers at once won", cure=cure
        )
    return Check(name="bucket", status="ok", detail=f"{detail}, one of {_RIVALS} publishers at once wins")


def _winners(storage: Storage, key: str) -> int:
    """Have several threads publish one key, exclusively and at once; return how many were told that they won."""
    won: list[bool] = []
    lost: list[UserError] = []
    together = threading.Barrier(_RIVALS)

    def publish(number: int) -> None:
        together.wait()
        try:
            won.append(storage.publish(str(number).encode(), key, exclusive=True))
        except UserError as error:
            lost.append(error)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(_RIVALS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage.delete(key)
    if lost:
        raise lost[0]
    return sum(won)
