"""Every random draw of the world: a stream of numbers named by what it is for.

What: `stream(seed, "skin", pid)` is a fresh generator whose numbers depend on the world's version, the seed, the
purpose and the integers given, and on nothing else. Why: images are made by several processes in any order and after
any crash, so nothing may be drawn from a generator that others have used. Source: counter-based generators, Salmon et
al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"), through numpy's Philox.
Trade-off: 25 microseconds to open a stream, so an image opens one and takes all its numbers from it in a fixed order;
the noise of a pixel is an integer hash instead (`rendering.styles`).
"""

import hashlib
from typing import Final

import numpy as np

__all__ = ["VERSION", "stream"]

VERSION: Final = 2
"""Version of the world: raised whenever the same seed gives other people, clothes, cameras or scenes."""


def stream(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Open the stream of one purpose.

    Args:
        seed: the world's seed.
        purpose: what the numbers are for, e.g. "skin"; two purposes never share numbers.
        numbers: identity, outfit, camera, frame: whatever the draw belongs to.
    """
    name = f"{VERSION}/{seed}/{purpose}/{','.join(str(number) for number in numbers)}"
    key = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
