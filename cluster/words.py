"""Counted things in sentences: "1 image is", "3 images are", from one template."""

import re
from typing import Final

__all__ = ["counted"]

_EITHER: Final = re.compile(r"\[([^|\]]*)\|([^|\]]*)\]")


def counted(count: int, sentence: str) -> str:
    """Return `sentence` behind its number: in "[image is|images are] left out" the first word is for one of them."""
    words = _EITHER.sub(lambda either: either[1 if count == 1 else 2], sentence)
    return f"{count:,} {words}"
