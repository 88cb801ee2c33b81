"""Jobs made of parts, done ahead by threads and handed over in order.

Which thread does which part changes nothing but the time, because a part writes only its own place. The threads live
as long as the iteration: when it ends, fails or is closed, waiting parts are dropped and running ones are waited for.
Source: ours. Trade-off: Python threads, so a part must spend its time in code that releases the interpreter lock
(simplejpeg, OpenCV and our kernels do); processes would need pickling and shared memory, and must never be forked
here.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Job", "done_ahead"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Job(Generic[T]):
    """One thing to hand over.

    Attributes:
        parts: what has to be done first, in any order and at the same time.
        result: what is handed over then.
    """

    parts: Sequence[Callable[[], None]]
    result: T


def done_ahead(jobs: Iterable[Job[T]], *, threads: int, ahead: int) -> Generator[T]:
    """Yield the jobs' results in order, keeping up to `ahead` further jobs in work meanwhile.

    A part's exception is raised where its job would have been handed over; of several the first part's.
    """
    waiting: deque[tuple[T, list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="resight-loader")
    try:
        for job in jobs:
            waiting.append((job.result, [pool.submit(part) for part in job.parts]))
            if len(waiting) > ahead:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(result: T, parts: list[Future[None]]) -> T:
    for part in parts:
        part.result()
    return result
