"""How a ranking is scored: what papers agree on least, so that every result names it.

Source: average precision by rectangles as torchreid and fast-reid compute it, by trapezoids as the original
Market-1501 code does; the latter also counts queries without a match as not found.
Trade-off: the numbers of two ways must not be put side by side, and nothing here can stop a reader from it.
"""

from dataclasses import dataclass
from typing import Any, Literal

from resight.cluster.errors import UserError
from resight.trainers.retrieval.protocol import PROTOCOLS, EvalProtocol

__all__ = ["AveragePrecision", "Scoring", "Unmatched", "number_of_draws"]

AveragePrecision = Literal["rectangle", "trapezoid"]
Unmatched = Literal["skip", "count"]


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """The choices besides the protocol.

    Attributes:
        ap: area of the precision-recall curve by rectangles (precision at each hit), or by trapezoids.
        unmatched: queries without a possible match are left out of every mean ("skip"), or count as never found.
        repeats: draws of a protocol that draws; None: as many as it says.
        seed: of the draws.
        tie_bounds: also report the least and the most that any order of equal distances can give.
    """

    ap: AveragePrecision = "rectangle"
    unmatched: Unmatched = "skip"
    repeats: int | None = None
    seed: int = 0
    tie_bounds: bool = False

    def __post_init__(self) -> None:
        for name, known in (("ap", ("rectangle", "trapezoid")), ("unmatched", ("skip", "count"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} is {getattr(self, name)!r}", cure=f"choose one of: {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """Return what a result must name, JSON-able."""
        return {"ap": self.ap, "unmatched": self.unmatched, "seed": self.seed}


def number_of_draws(protocol: EvalProtocol, scoring: Scoring) -> int:
    """Return how often the gallery is drawn; 1 where nothing is drawn.

    Raises:
        UserError: for fewer than one, and for repeats of a protocol that draws nothing.
    """
    if scoring.repeats is None:
        return protocol.repeats
    if scoring.repeats < 1:
        raise UserError(f"repeats is {scoring.repeats}", where="--repeats", cure="use at least one")
    if protocol.gallery == "all":
        drawing = ", ".join(name for name, one in PROTOCOLS.items() if one.gallery == "one")
        problem = f"protocol {protocol.name!r} draws nothing, so repeats would all be the same"
        raise UserError(problem, where="--repeats", cure=f"leave it out, or judge by one that draws: {drawing}")
    return scoring.repeats
