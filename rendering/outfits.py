"""What a person wears: colours, patterns, cuts and fit of one outfit, and who copies whom.

What: `outfit(seed, pid, number)` draws the clothes of one identity's outfit. No colour of a garment comes back in
another outfit of the same person, so that clothes say everything within an outfit and nothing between two. A share of
the people are *imitators*: they wear their neighbour's outfits with small changes, so colour alone does not decide
either. Why: a benchmark whose clothes are too easy, or that leak through, measures the wrong thing. Source: near-
duplicate clothes as in ClonedPerson, Wang et al. 2022, arXiv:2204.02611. Trade-off: garments are regions of the
body's own surface, pushed outwards by a fit; there are no skirts or coats that hang free.
"""

import colorsys
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32

from resight.rendering.draws import stream

__all__ = ["Garment", "Outfit", "colour_distance", "outfit", "twin"]

Pattern = Literal["plain", "stripes", "checks", "dots", "noise", "logo", "plaid"]

IMITATORS: Final = 0.6
"""Share of the odd-numbered identities that wear what the even-numbered identity before them wears, with one outfit."""

RIVALS: Final = 0.4
"""The same with several outfits, where an imitator puts wrong answers in the query's colours into the gallery."""

NEAR: Final = 0.32
"""Two garments of one person are further apart than this (hue-saturation-lightness cone, about 0 to 1.4)."""


@dataclass(frozen=True, kw_only=True)
class Garment:
    """One piece of clothing. Colours are sRGB in [0, 1].

    Attributes:
        colour: (3,) float32, the ground.
        second: (3,) float32, the pattern; equal to the ground when plain.
        pattern: how the two alternate (`appearance.KINDS`).
        scale: periods a metre.
        angle: of the stripes, radians; a logo's is 0 on the chest, pi on the back.
        duty: share of the second colour, 0 to 1.
        seed: names the logo, the blotches and the folds.
        length: where it ends along the limb: up to 1 on the upper half (arm, thigh), up to 2 on the lower.
        fit: how far it stands off the skin, metres.
    """

    colour: Float32[np.ndarray, "3"]
    second: Float32[np.ndarray, "3"]
    pattern: Pattern
    scale: float
    angle: float
    duty: float
    seed: int
    length: float
    fit: float


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """All that one person wears in one outfit.

    Attributes:
        pid: who wears it.
        number: 0, 1, ...: which of the person's outfits.
        upper: shirt or jumper; its length counts along the arm.
        lower: shorts or trousers; its length counts along the leg.
        shoes: their length is unused.
        hat: a cap over the hair, or None.
    """

    pid: int
    number: int
    upper: Garment
    lower: Garment
    shoes: Garment
    hat: Garment | None


def twin(seed: int, pid: int, wardrobe: int) -> int | None:
    """Return the identity whose outfits `pid` imitates, or None. Only odd identities imitate, so no chains arise."""
    share = IMITATORS if wardrobe == 1 else RIVALS
    if pid % 2 == 0 or stream(seed, "imitator", pid).random() >= share:
        return None
    return pid - 1


@lru_cache(maxsize=16384)
def outfit(seed: int, pid: int, number: int, wardrobe: int) -> Outfit:
    """Draw outfit `number` of identity `pid`, who owns `wardrobe` outfits.

    An imitator's outfit follows the *next* one of whom it imitates, so that with more than one outfit a query's best
    match in colour is somebody else.
    """
    copied = twin(seed, pid, wardrobe)
    if copied is not None:
        return _imitated(seed, pid, number, outfit(seed, copied, (number + 1) % wardrobe, wardrobe))
    draws = stream(seed, "outfit", pid, number)
    earlier = [outfit(seed, pid, before, wardrobe) for before in range(number)]
    return Outfit(
        pid=pid,
        number=number,
        upper=_unlike(draws, [worn.upper for worn in earlier], _UPPER),
        lower=_unlike(draws, [worn.lower for worn in earlier], _LOWER),
        shoes=_unlike(draws, [worn.shoes for worn in earlier], _SHOES),
        hat=_garment(draws, _HAT) if draws.random() < HATS else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What garments of one kind may be like: shares of neutral colours and patterns, lengths, fit in metres."""

    neutral: float
    patterned: float
    lengths: tuple[tuple[float, float, float], ...]  # share, shortest, longest
    fit: tuple[float, float]


_UPPER: Final = _Kind(
    neutral=0.3, patterned=0.5, lengths=((0.1, 0.04, 0.16), (0.4, 0.45, 0.9), (0.5, 1.7, 1.95)), fit=(0.006, 0.024)
)
_LOWER: Final = _Kind(neutral=0.4, patterned=0.2, lengths=((0.22, 0.55, 1.05), (0.78, 1.8, 1.97)), fit=(0.006, 0.024))
_SHOES: Final = _Kind(neutral=0.6, patterned=0.0, lengths=((1.0, 1.0, 1.0),), fit=(0.006, 0.014))
_HAT: Final = _Kind(neutral=0.3, patterned=0.0, lengths=((1.0, 1.0, 1.0),), fit=(0.018, 0.022))

HATS: Final = 0.2
"""Share of the outfits that have a cap."""


def _garment(draws: np.random.Generator, kind: _Kind) -> Garment:
    colour = _colour(draws, kind.neutral)
    plain = draws.random() >= kind.patterned
    pattern = _PATTERNS[draws.integers(len(_PATTERNS))]
    second = _colour(draws, 0.5)
    return Garment(
        colour=colour,
        second=colour if plain else second,
        pattern="plain" if plain else pattern,
        scale=20.0 if pattern == "logo" else float(draws.uniform(4, 12)),
        angle=float(draws.choice((0.0, np.pi) if pattern == "logo" else (0.0, 0.0, np.pi / 2, np.pi / 4))),
        duty=float(draws.uniform(0.25, 0.6)),
        seed=int(draws.integers(2**24)),
        length=_length(draws, kind.lengths),
        fit=float(draws.uniform(*kind.fit)),
    )


_PATTERNS: Final[tuple[Pattern, ...]] = ("stripes", "checks", "dots", "noise", "logo", "plaid")


def _colour(draws: np.random.Generator, neutral: float) -> Float32[np.ndarray, "3"]:
    hue, saturation, value = draws.random(), draws.uniform(0.3, 0.9), draws.uniform(0.25, 0.92)
    if draws.random() < neutral:
        saturation, value = saturation * 0.12, draws.uniform(0.06, 0.92)
    return _frozen(colorsys.hsv_to_rgb(hue, saturation, value))


def _length(draws: np.random.Generator, lengths: tuple[tuple[float, float, float], ...]) -> float:
    shares = np.array([share for share, _, _ in lengths])
    _, low, high = lengths[int(draws.choice(len(lengths), p=shares / shares.sum()))]
    return float(draws.uniform(low, high))


def _unlike(draws: np.random.Generator, worn: list[Garment], kind: _Kind) -> Garment:
    """Draw until the ground colour is far from every garment already worn; after 24 draws the furthest wins."""
    best = _garment(draws, kind)
    for _ in range(23):
        if _nearest(best, worn) >= NEAR:
            break
        best = max(best, _garment(draws, kind), key=lambda garment: _nearest(garment, worn))
    return best


def _nearest(garment: Garment, worn: list[Garment]) -> float:
    return min((colour_distance(garment.colour, other.colour) for other in worn), default=np.inf)


def colour_distance(first: Float32[np.ndarray, "3"], second: Float32[np.ndarray, "3"]) -> float:
    """Return the distance of two sRGB colours in the cone (saturation x value at the hue's angle, value)."""
    return float(np.linalg.norm(_cone(first) - _cone(second)))


def _cone(colour: np.ndarray) -> np.ndarray:
    hue, saturation, value = colorsys.rgb_to_hsv(*colour.tolist())
    angle = 2 * np.pi * hue
    return np.array([saturation * value * np.cos(angle), saturation * value * np.sin(angle), value])


def _imitated(seed: int, pid: int, number: int, model: Outfit) -> Outfit:
    draws = stream(seed, "imitated", pid, number)
    return Outfit(
        pid=pid,
        number=number,
        upper=_nearly(draws, model.upper),
        lower=_nearly(draws, model.lower),
        shoes=_nearly(draws, model.shoes),
        hat=model.hat,
    )


def _nearly(draws: np.random.Generator, garment: Garment) -> Garment:
    """Return the garment in nearly the same colours, with its pattern a little larger or smaller."""
    shift = draws.uniform(-0.03, 0.03, 3)
    return replace(
        garment,
        colour=_frozen(garment.colour + shift),
        second=_frozen(garment.second + shift),
        scale=garment.scale * float(draws.uniform(0.85, 1.18)),
        fit=garment.fit * float(draws.uniform(0.85, 1.18)),
    )


def _frozen(colour: tuple[float, float, float] | np.ndarray) -> Float32[np.ndarray, "3"]:
    array = np.clip(np.asarray(colour), 0, 1).astype(np.float32)
    array.setflags(write=False)
    return array
