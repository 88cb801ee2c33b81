"""Where the leases of a run lie: a folder, or a bucket. Numbered files, made only where there is none of that number.

Source: design of this project. Trade-off: a server that does not decide conditions in one step (OpenStack Swift) may
let two starts in the same instant both believe that they won; Amazon's S3 and file systems do not.
"""

import os
import uuid
from pathlib import Path
from typing import Final, Protocol

from resight.cluster.storage import Storage, is_url, open_storage

__all__ = ["Shelf", "shelf_of"]

_PATTERN: Final = "lease-*.json"


class Shelf(Protocol):
    """Texts by number."""

    def numbers(self) -> list[int]:
        """Return the numbers that are there."""
        ...

    def make(self, number: int, text: str) -> bool:
        """Put a text there, whole, only if there is none of that number; tell whether this call did."""
        ...

    def read(self, number: int) -> str | None:
        """Return a text, None when there is none."""
        ...

    def write(self, number: int, text: str) -> None:
        """Put a text there, whatever there was."""
        ...

    def age_s(self, number: int) -> float:
        """Return how long ago a text was put there, by the shelf's own clock; 0 when there is none."""
        ...

    def remove(self, number: int) -> None:
        """Take a text away; harmless when there is none."""
        ...


def shelf_of(control: Path | str) -> Shelf:
    """Return the shelf in a run's `control` folder."""
    return _InStorage(open_storage(control)) if is_url(control) else _InFolder(Path(control))


class _InFolder:
    """Files in a folder on a disk, on file systems without hard links too."""

    def __init__(self, control: Path) -> None:
        control.mkdir(parents=True, exist_ok=True)
        self._control = control

    def numbers(self) -> list[int]:
        return [_number(path.name) for path in self._control.glob(_PATTERN)]

    def make(self, number: int, text: str) -> bool:
        path = self._file(number)
        temporary = self._temporary(path)
        temporary.write_text(text)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # no hard links here: for a moment the file is empty, and counts as held
            try:
                with path.open("x") as file:
                    file.write(text)
            except FileExistsError:
                return False
        finally:
            temporary.unlink()
        return True

    def read(self, number: int) -> str | None:
        try:
            return self._file(number).read_text()
        except FileNotFoundError:
            return None

    def write(self, number: int, text: str) -> None:
        temporary = self._temporary(self._file(number))
        temporary.write_text(text)
        temporary.replace(self._file(number))

    def age_s(self, number: int) -> float:
        probe = self._control / f".tmp-now-{uuid.uuid4().hex}"
        probe.write_text("")
        try:
            return probe.stat().st_mtime - self._file(number).stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            probe.unlink()

    def remove(self, number: int) -> None:
        self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._control / _name(number)

    def _temporary(self, path: Path) -> Path:
        return path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex}")


class _InStorage:
    """Objects of a bucket."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def numbers(self) -> list[int]:
        return [_number(key) for key in self._storage.list("lease-")]

    def make(self, number: int, text: str) -> bool:
        return self._storage.publish(text.encode(), _name(number), exclusive=True)

    def read(self, number: int) -> str | None:
        return self._storage.read(_name(number)).decode() if self._storage.exists(_name(number)) else None

    def write(self, number: int, text: str) -> None:
        self._storage.publish(text.encode(), _name(number))

    def age_s(self, number: int) -> float:
        return self._storage.age_s(_name(number)) if self._storage.exists(_name(number)) else 0.0

    def remove(self, number: int) -> None:
        self._storage.delete(_name(number))


def _name(number: int) -> str:
    return f"lease-{number:06d}.json"


def _number(name: str) -> int:
    digits = name.removeprefix("lease-").removesuffix(".json")
    return int(digits) if digits.isdigit() else 0
