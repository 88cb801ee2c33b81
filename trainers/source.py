"""Which code runs here: the folder this package was imported from, and a hash of its source files.

A cluster's nodes may hold an older copy of the package than the one a job ships. Driver and workers compare their hash,
because a worker that trains with other code than the driver's gives numbers that no commit explains.

Source: design of this project.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from resight.cluster.errors import UserError

__all__ = ["package_folder", "require_same", "sha256_of", "source_sha256"]


def package_folder() -> Path:
    """Return the folder of the package as it was imported, links not followed."""
    return Path(__file__).absolute().parent.parent


@cache
def source_sha256() -> str:
    """Return the hash of the package that runs here."""
    return sha256_of(package_folder())


def sha256_of(package: Path) -> str:
    """Return the sha256 over names and contents of a package's Python files, rooms included."""
    whole = hashlib.sha256()
    for name, path in sorted(_files(package)):
        whole.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def require_same(sha256: str, *, host: str) -> None:
    """Hold this process's code to be the driver's; `UserError` names the folder it was imported from."""
    if source_sha256() != sha256:
        raise UserError(
            f"this worker runs other code than the driver: {source_sha256()[:12]}, not {sha256[:12]}",
            where=f"{host}: {package_folder()}",
            cure="ship the code with the job: ray job submit --working-dir . -- python -m resight train ...",
        )


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the relative name and the path of each source file; rooms are links in a checkout: they are followed."""
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if name.endswith(".py"):
                path = Path(place, name)
                yield path.relative_to(folder).as_posix(), path
