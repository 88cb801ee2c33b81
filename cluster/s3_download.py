"""One object on its way here: what breaks off is asked for again, by range, from where it broke off.

botocore retries requests, not bodies: once an answer has begun, a connection that breaks ends the reader's stream. A
body that ends too early is noticed by its length. Source: ours. Trade-off: bytes that were changed on their way and not
lost are noticed by the checksum only, which whoever reads whole objects compares.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

from botocore.exceptions import HTTPClientError, IncompleteReadError

from resight.cluster.errors import UserError

__all__ = ["Download", "Get"]

_PIECE: Final = 1 << 20
_BREAKS: Final = 8
_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 5.0

Get = Callable[[str], Any]
"""The range, as in "bytes=0-", or "" for all -> boto3's answer to GetObject."""


class Download:
    """An object, or a range of it, read once and in order.

    Args:
        get: asks for a range.
        first: byte to begin with.
        last: byte to end with, itself included; None for the end of the object.

    Attributes:
        size: bytes to come, from the first answer.
        metadata: of the object, its names in lower case.

    Raises:
        What `get` raises; UserError when the object changes while it is read, or the server ignores ranges.
    """

    def __init__(self, get: Get, *, first: int = 0, last: int | None = None) -> None:
        self._get = get
        self._at = first
        self._last = last
        self._answer = self._ask(self._range()) if first or last is not None else get("")
        self._etag = self._answer.get("ETag", "")
        self.size = int(self._answer["ContentLength"])
        self.metadata = {name.lower(): value for name, value in self._answer.get("Metadata", {}).items()}
        self._end = first + self.size

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes, up to a MiB at a time; boto's errors when it breaks off again and again."""
        breaks = 0
        while True:
            begun = self._at
            try:
                with closing(self._answer["Body"]) as body:
                    for piece in body.iter_chunks(_PIECE):
                        self._at += len(piece)
                        yield piece
                if self._at >= self._end:
                    return
                raise IncompleteReadError(actual_bytes=self._at, expected_bytes=self._end)
            except (HTTPClientError, IncompleteReadError):
                breaks = breaks + 1 if self._at - begun < _PIECE else 1
                if self._at >= self._end:
                    return
                if breaks > _BREAKS:
                    raise
            time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, _WAIT_S * 2**breaks)))  # noqa: S311 - jitter
            self._ask_again()

    def _ask_again(self) -> None:
        self._answer = self._ask(self._range())
        if self._answer.get("ETag", "") != self._etag:
            self._answer["Body"].close()
            raise UserError("the object was replaced while it was read", cure="start the same command again")

    def _ask(self, span: str) -> Any:
        """Ask for a range; UserError for a server that gives something else."""
        answer = self._get(span)
        if not answer.get("ContentRange", "").startswith(f"bytes {self._at}-"):
            answer["Body"].close()
            raise UserError("the server gives no ranges of objects", cure="use a server that does, as S3 is specified")
        return answer

    def _range(self) -> str:
        return f"bytes={self._at}-{'' if self._last is None else self._last}"
