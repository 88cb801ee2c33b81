"""What was found to be no picture while streaming: named, counted, and too much when it is more than a set share.

Source: design of this project. Trade-off: each worker counts what it met itself, so the limit is on the share of the
images that one worker has asked for; a fault that befalls one image in ten shows everywhere at once.
"""

import threading
from dataclasses import dataclass
from typing import Final

from resight.cluster.errors import UserError

__all__ = ["Quarantine", "Quarantined"]

_LEAST: Final = 1000
"""The share is taken of at least so many images: one bad image among the first ten is no bad tenth."""


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One sample that could not be used.

    Attributes:
        key: "data set/key".
        shard: its shard.
        reason: why, in words.
    """

    key: str
    shard: str
    reason: str


class Quarantine:
    """A list of bad samples that threads may share.

    Args:
        max_bad_share: of the images asked for, in [0, 1]; 0 tolerates none.
        where: for the message.
    """

    def __init__(self, *, max_bad_share: float, where: str) -> None:
        if not 0 <= max_bad_share <= 1:
            raise UserError(f"max_bad_share is {max_bad_share}", cure="use a share from 0 to 1")
        self._share = max_bad_share
        self._where = where
        self._asked = 0
        self._bad: dict[int, Quarantined] = {}
        self._lock = threading.Lock()

    def __contains__(self, row: int) -> bool:
        """Whether a row is known to be bad."""
        return row in self._bad

    def __len__(self) -> int:
        """Return how many different samples are bad."""
        return len(self._bad)

    @property
    def entries(self) -> tuple[Quarantined, ...]:
        """The bad samples, by row."""
        with self._lock:
            return tuple(self._bad[row] for row in sorted(self._bad))

    def asked(self) -> None:
        """Count an image that was asked for."""
        with self._lock:
            self._asked += 1

    def note(self, row: int, entry: Quarantined) -> None:
        """Take note of a bad row.

        Raises:
            UserError: when that makes too many.
        """
        with self._lock:
            self._bad[row] = entry
            bad, asked = len(self._bad), max(self._asked, _LEAST)
        if bad > self._share * asked:
            raise UserError(
                f"{bad} images are no pictures, more than {self._share:.3g} of the {self._asked:,} read so far; "
                f"the latest is {entry.key} ({entry.reason})",
                where=f"{self._where}, shard {entry.shard}",
                cure="mend the data, or raise max_bad_share",
            )
