"""Evaluation protocols as data: which gallery images a query is not asked to find.

A protocol names label fields; a gallery image of the query's own identity that agrees with the query in any one of
them is dropped from that query's ranking. Everything else is common to all protocols: junk (`JUNK`) is never ranked,
distractors (`DISTRACTOR`, or any identity that no query has) stay as wrong answers, an unknown label (-1) agrees with
nothing, and a query that keeps no possible match is skipped, counted and named.
Source: Zheng et al. 2015 (Market-1501), section 4; the union of fields follows Gu et al. 2022 (CAL, arXiv:2204.06890).
Trade-off: rules that look at other identities cannot be said; no published protocol needs one.
"""

from dataclasses import dataclass
from typing import Final, Literal

from resight.cluster.errors import UserError, did_you_mean

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "MARKET1501",
    "NO_CAMERA",
    "PROTOCOLS",
    "UNKNOWN",
    "EvalProtocol",
    "Field",
    "find_protocol",
]

Field = Literal["camid"]

JUNK: Final = -1
"""Identity of a gallery image that is never ranked; a query with a negative identity is skipped."""

DISTRACTOR: Final = -2
"""Identity of a gallery image that stays in every ranking as a wrong answer."""

UNKNOWN: Final = -1
"""A label, other than the identity, that is not known: it never equals another, not even another unknown one."""


@dataclass(frozen=True, kw_only=True)
class EvalProtocol:
    """One set of rules.

    Attributes:
        name: its key in `PROTOCOLS`.
        drop_same: a gallery image of the query's identity is dropped when any of these fields is known and equal.
        source: where the rule is published.
    """

    name: str
    drop_same: tuple[Field, ...]
    source: str


MARKET1501: Final = EvalProtocol(
    name="market1501", drop_same=("camid",), source="Zheng et al. 2015: only other cameras count as found again"
)
NO_CAMERA: Final = EvalProtocol(
    name="no_camera", drop_same=(), source="data without camera labels: every image of the identity counts"
)

PROTOCOLS: Final = {"market1501": MARKET1501, "no_camera": NO_CAMERA}


def find_protocol(name: str) -> EvalProtocol:
    """Return the protocol called `name`; UserError with the nearest name when there is none."""
    if name not in PROTOCOLS:
        raise UserError(
            f"there is no evaluation protocol {name!r}", where="protocol", cure=did_you_mean(name, PROTOCOLS)
        )
    return PROTOCOLS[name]
