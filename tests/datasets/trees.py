"""Trees of files as the archives have them, and what a scan says of each file, for tests of readers."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from resight.datasets.readers.scan import Scan


def plant(root: Path, names: Iterable[str] | Mapping[str, bytes | str]) -> Path:
    """Make files below `root`; a list of names makes files of one byte."""
    files = names if isinstance(names, Mapping) else dict.fromkeys(names, b"x")
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def told(scan: Scan, *fields: str) -> dict[str, tuple[object, ...]]:
    """Origin -> the named fields of its record."""
    return {s.record.origin: tuple(getattr(s.record, field) for field in fields) for s in scan.sources}


def keys(scan: Scan) -> list[str]:
    return [source.record.key for source in scan.sources]
