"""Arrays and checksums of an index's files: read without pickle, and only of the one type and shape that was promised.

Source: design of this project. Trade-off: a file of another layout is refused, also where it could be converted.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from resight.cluster.commits import FileRecord
from resight.cluster.errors import UserError
from resight.cluster.storage import Storage

__all__ = ["check_file", "check_size", "damaged", "map_array", "record"]

_CURE: Final = "copy the index again, or make it again from its feature files; `resight index --check` checks all of it"


def record(path: Path) -> FileRecord:
    """Return a file's sha256 and size."""
    with path.open("rb") as file:
        return FileRecord(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def check_size(storage: Storage, key: str, file: FileRecord) -> None:
    """Refuse a file that was torn, which costs nothing to find; UserError, or FileNotFoundError for none."""
    found = storage.size(key)
    if found != file.size:
        raise damaged(storage, key, f"has {found:,} bytes in place of {file.size:,}")


def check_file(storage: Storage, key: str, file: FileRecord) -> list[str]:
    """Compare every byte of a file with its sha256; return what is wrong, in words."""
    if not storage.exists(key):
        return [f"{key} is missing"]
    digest = hashlib.sha256()
    for piece in storage.chunks(key):
        digest.update(piece)
    return [] if digest.hexdigest() == file.sha256 else [f"{key} is not what was written"]


def map_array(storage: Storage, key: str, kind: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """Map an array for reading; UserError for a file that holds anything else."""
    try:
        found: Any = np.load(storage.local(key), mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damaged(storage, key, f"is no array: {str(error).splitlines()[0]}") from error
    is_kind, is_shape = getattr(found, "dtype", None), getattr(found, "shape", None)
    if (is_kind, is_shape) != (kind, shape) or not found.flags.c_contiguous:
        raise damaged(storage, key, f"holds {is_kind} {is_shape}, not {kind.__name__} {shape}")
    return found


def damaged(storage: Storage, key: str, what: str) -> UserError:
    """Return the error for a file that is not what it should be."""
    return UserError(f"a file of the index is damaged: {key} {what}", where=storage.url, cure=_CURE)
