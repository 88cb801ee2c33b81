"""Archives of plain arrays (`.npz`), read without pickle and without leaving a file open.

Source: numpy's own format. Trade-off: arrays that hold Python objects can only be refused or left out.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resight.cluster.errors import UserError

__all__ = ["read_arrays"]


def read_arrays(path: str | Path, *, what: str, cure: str, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz`.

    Args:
        path: of the file.
        what: it should be, for the message ("a body file").
        cure: what to do when it is not.
        only: names to read, where they are there; None reads all.

    Raises:
        UserError: there is no such file, or it is no archive of plain arrays.
    """
    try:
        with Path(path).open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise ValueError("it is no archive of arrays")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files if only is None or name in only}
    except FileNotFoundError as error:
        raise UserError(f"there is no such {what}", where=str(path), cure=cure) from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"not a {what}: {error}", where=str(path), cure=cure) from error
