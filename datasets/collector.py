"""The collector of garbage, held where much is made and nothing is dropped in cycles.

Python goes through every object it holds each time that their number has grown by a quarter: with the libraries
imported that is 0.2 s, and listing and packing 20,000 crops set it off twice, a fifth of all they did.
Neither makes cycles, so nothing is left lying. Trade-off: other threads of the process are not collected meanwhile
either; so hold it for a listing or a shard, never for a whole run.
Source: CPython's `gc` module.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Generator[None]:
    """Hold the collector. Safe in several threads at once: whoever found it on turns it on again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
