"""Which keys a storage takes: the same for every back end, so that what one took another can take over."""

from pathlib import PurePosixPath
from typing import Final

from resight.cluster.errors import UserError

__all__ = ["TEMPORARY", "checked"]

TEMPORARY: Final = ".tmp-"
"""How the names of unfinished files begin."""


def checked(key: str, url: str) -> PurePosixPath:
    """Return a key as a path.

    Raises:
        UserError: for a key that is empty, absolute, climbs out of its storage, or looks like an unfinished file.
    """
    path = PurePosixPath(key)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in key or "\0" in key
    if not path.parts or unsafe or path.name.startswith(TEMPORARY):
        raise UserError(f"{key!r} is not a storage key", where=url, cure="use a relative path without '..'")
    return path
