"""The shard cache of a machine that nobody configured: what data sets on S3 are read through when no other is given.

It lies on the machine's temporary disk (TMPDIR), one a user, shared by all processes and data sets. Source: ours.
Trade-off: it stays until the system clears temporary files, so that the next command finds its shards.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from resight.datasets.shard_cache import ShardCache

__all__ = ["node_cache", "node_cache_folder"]

_LIMIT_GIB: Final = 50.0


def node_cache_folder() -> Path:
    """Return its folder."""
    return Path(tempfile.gettempdir()) / f"resight-shards-{os.getuid()}"


def node_cache(limit_gib: float = _LIMIT_GIB) -> ShardCache:
    """Return the cache; UserError when its folder cannot be used."""
    return ShardCache(node_cache_folder(), limit_bytes=int(limit_gib * (1 << 30)))
