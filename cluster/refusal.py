"""What a file system refuses, in words: a full disk, a read-only folder, a path that is too long.

Python tells of these with an `OSError` whose text names a system call's reason and sometimes a file. The user needs the
folder and what to do, so the places that write say what they are writing (`writing`), and the door explains whatever
else the system refused (`explained`). Errors that point at our own mistakes, such as a file that should be there, are
not in the list and keep their traceback.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError

__all__ = ["explained", "no_room", "writing"]

_WRITABLE: Final = "choose a folder that you may write to, or change its permissions"
_ROOM: Final = "free some disk space and start the same command again, or choose a folder on another disk"
_CURES: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the file size limit (ulimit -f)",
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: "choose a folder on a file system with hard links, and one you may write to",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EISDIR: "a folder stands where a file is needed: move it away",
    errno.EMFILE: "raise the open file limit (ulimit -n)",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EIO: "the disk or the network behind it fails: see the system's log, and choose another disk",
    errno.ESTALE: "the shared file system lost this folder: mount it again",
}
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextmanager
def writing(what: str, folder: Path | str) -> Generator[None]:
    """Turn an `OSError` in the block into a `UserError`: "could not write WHAT", where, and the cure.

    Args:
        what: what is being written, e.g. a file's name, quoted.
        folder: where.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"could not write {what}: {error.strerror or error}",
            where=str(folder),
            cure=_CURES.get(error.errno or 0, "check the disk, or choose another folder"),
        ) from error


def no_room(error: BaseException) -> bool:
    """Tell whether a disk had no room for a file: nobody's fault but the disk's, and the same for every other file."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def explained(error: OSError) -> UserError | None:
    """Return the error in the user's words; None when it is not one that a user can mend."""
    cure = _CURES.get(error.errno or 0)
    if cure is None:
        return None
    return UserError(f"the system refused: {error.strerror}", where=str(error.filename or ""), cure=cure)
