"""Where something lies, as an option: a folder, or s3://bucket/prefix.

Options that are typed `Path` take places on this machine only. `Path("s3://bucket")` is "s3:/bucket", a folder of a
strange name, so URLs that were given to such options are refused before anything is written.
"""

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from resight.cluster.errors import UserError

__all__ = ["Place", "refuse_urls_as_paths"]

Place = Annotated[str, tyro.conf.arg(metavar="PLACE")]
"""A folder, or s3://bucket/prefix."""

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/[^/]")


def refuse_urls_as_paths(options: Any) -> None:
    """Raise `UserError` when a path among a verb's options was given as a URL.

    Args:
        options: a dataclass of options.
    """
    if not dataclasses.is_dataclass(options):
        return
    for spec in dataclasses.fields(options):
        value = getattr(options, spec.name)
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path) and _URL.match(str(path)) and not path.exists():
                raise UserError(
                    f"{str(path).replace(':/', '://', 1)!r} is a URL",
                    where=f"--{spec.name.replace('_', '-')}",
                    cure="give a path on this machine, or on a file system that it mounts",
                )
