"""What a person wears: colours, patterns, cuts and fit of one outfit, and who copies whom.

What: `outfit(seed, pid, number, wardrobe)` draws the clothes of one identity's outfit. Where people own a single outfit
it is theirs, and says much of who they are; but in every circle of four, a share of *imitators* wears what the first of
them wears, with small changes, so that colour alone does not decide. Where people change clothes they share a wardrobe:
every outfit in it is worn by many, never by the same person twice, so clothes say nothing, and a network that trusts
them learns that it is wrong.
Why: a benchmark whose clothes are too easy, or that leak through, measures the wrong thing. Measured with people who
own three outfits each: the network tells 576 outfits apart by heart and transfers little (mAP 0.04 on unseen people;
0.11 with the shared wardrobe). Source: near-duplicate clothes as in ClonedPerson, Wang et al. 2022, arXiv:2204.02611.
Where outfits have *extras*, there is more to tell them by: hems and collars of their own, a second layer under the
first, a bag. Trade-off: garments are regions of the body's own surface, pushed outwards by a fit; there are no skirts
or coats that hang free.
"""

import colorsys
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32

from resight.rendering.draws import stream

__all__ = ["Bag", "BagKind", "Garment", "Outfit", "colour_distance", "outfit", "shared_outfits", "stranger", "twin"]

Pattern = Literal["plain", "stripes", "checks", "dots", "noise", "logo", "plaid"]

BagKind = Literal["backpack", "satchel", "handbag"]

CIRCLE: Final = 4
"""Identities with numbers in a row among whom all but the first may wear what the first wears, with one outfit."""

IMITATORS: Final = 0.65
"""Share of those that do."""

WARDROBE: Final = 24
"""Outfits that people who change clothes share, each drawn with its own small changes for every wearing."""

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
class Bag:
    """A bag. A satchel hangs at the hip by a belt across the chest; a handbag hangs from a hand.

    Attributes:
        kind: where it is carried.
        cloth: its colours and pattern; length and fit are unused.
        side: 1 for the person's left, -1 for the right.
        size: (3,) width, height and depth, metres.
    """

    kind: BagKind
    cloth: Garment
    side: int
    size: tuple[float, float, float]


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
        hem: where the upper ends on the trunk (`parts.LIMBS`).
        collar: share of the neck that the upper covers; below 0, metres by which a low neckline shows the chest.
        under: a second layer under the upper, seen on the arms from the sleeve's end on, or None.
        bag: or None.
    """

    pid: int
    number: int
    upper: Garment
    lower: Garment
    shoes: Garment
    hat: Garment | None
    hem: float = 0.8
    collar: float = 0.0
    under: Garment | None = None
    bag: Bag | None = None


@lru_cache(maxsize=16384)
def twin(seed: int, pid: int) -> int | None:
    """Return the identity whose single outfit `pid` imitates, or None: the first of its circle, who imitates nobody."""
    if pid % CIRCLE == 0 or stream(seed, "imitator", pid).random() >= IMITATORS:
        return None
    return pid - pid % CIRCLE


@lru_cache(maxsize=16384)
def outfit(seed: int, pid: int, number: int, wardrobe: int, *, extras: bool = False, like: int = -1) -> Outfit:
    """Draw outfit `number` of identity `pid`.

    Args:
        seed: the world's.
        pid: who wears it.
        number: from 0 to below `wardrobe`.
        wardrobe: outfits that the person is seen in.
        extras: whether there may be bags, layers, hems and collars.
        like: the identity whose outfit this one nearly is, -1 for none.
    """
    if like >= 0:
        return _nearly_same(seed, pid, number, outfit(seed, like, number, wardrobe, extras=extras))
    if wardrobe > 1:
        return _nearly_same(seed, pid, number, _shared(seed, shared_outfits(seed, pid, wardrobe)[number], extras))
    copied = twin(seed, pid)
    if copied is not None:
        return _nearly_same(seed, pid, number, outfit(seed, copied, number, wardrobe, extras=extras))
    own = _drawn(stream(seed, "outfit", pid, number), pid, number)
    return _with_extras(stream(seed, "extras", pid, number), own) if extras else own


def stranger(seed: int, number: int) -> Outfit:
    """Draw what passer-by `number` wears, who is nobody's answer."""
    return _drawn(stream(seed, "stranger", number), -1, number)


@lru_cache(maxsize=16384)
def shared_outfits(seed: int, pid: int, count: int) -> tuple[int, ...]:
    """Return which of the `WARDROBE` shared outfits a person wears: no repeats, and no garment's colour again.

    The next one is the first of a random order that is unlike all before; where there is none, the most unlike.
    """
    order = stream(seed, "wardrobe", pid).permutation(WARDROBE).tolist()
    chosen = [order.pop(0)]
    while len(chosen) < count:
        unlike = {
            n: min(_unlikeness(_shared(seed, n, False), _shared(seed, other, False)) for other in chosen) for n in order
        }
        chosen.append(next((n for n in order if unlike[n] >= 1), max(order, key=unlike.__getitem__)))
        order.remove(chosen[-1])
    return tuple(chosen)


@lru_cache(maxsize=1024)
def _shared(seed: int, number: int, extras: bool) -> Outfit:
    plain = _drawn(stream(seed, "shared", number), -1, number)
    return _with_extras(stream(seed, "shared extras", number), plain) if extras else plain


def _drawn(draws: np.random.Generator, pid: int, number: int) -> Outfit:
    return Outfit(
        pid=pid,
        number=number,
        upper=_garment(draws, _UPPER),
        lower=_garment(draws, _LOWER),
        shoes=_garment(draws, _SHOES),
        hat=_garment(draws, _HAT) if draws.random() < HATS else None,
    )


def _with_extras(draws: np.random.Generator, plain: Outfit) -> Outfit:
    """Add what only some outfits have; a short sleeve is more likely than a long one to have another under it."""
    layered = plain.upper.length < 1.0 and draws.random() < LAYERED
    under = _garment(draws, _UNDER)
    return replace(
        plain,
        hem=float(draws.uniform(0.7, 0.93)),
        collar=float(draws.choice((0.0, 0.0, 0.5, 0.9, -0.07, -0.13))),
        under=under if layered else None,
        upper=replace(plain.upper, fit=plain.upper.fit + LAYER) if layered else plain.upper,
        bag=_bag(draws) if draws.random() < BAGS else None,
    )


def _bag(draws: np.random.Generator) -> Bag:
    kind = _BAG_KINDS[draws.integers(len(_BAG_KINDS))]
    size = np.array(_BAG_SIZES[kind]) * draws.uniform(0.8, 1.2, 3)
    return Bag(
        kind=kind,
        cloth=_garment(draws, _BAG),
        side=int(draws.choice((-1, 1))),
        size=(float(size[0]), float(size[1]), float(size[2])),
    )


def _unlikeness(one: Outfit, other: Outfit) -> float:
    """Return the smallest distance of two garments' ground colours, in units of what is clearly different."""
    pairs = ((one.upper, other.upper, NEAR), (one.lower, other.lower, NEAR), (one.shoes, other.shoes, NEAR / 2))
    return min(colour_distance(first.colour, second.colour) / far for first, second, far in pairs)


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

_UNDER: Final = _Kind(neutral=0.6, patterned=0.25, lengths=((1.0, 1.75, 1.95),), fit=(0.004, 0.008))
_BAG: Final = _Kind(neutral=0.45, patterned=0.15, lengths=((1.0, 1.0, 1.0),), fit=(0.0, 0.0))

_BAG_KINDS: Final[tuple[BagKind, ...]] = ("backpack", "backpack", "satchel", "handbag")
_BAG_SIZES: Final[dict[BagKind, tuple[float, float, float]]] = {
    "backpack": (0.3, 0.42, 0.16),
    "satchel": (0.32, 0.24, 0.1),
    "handbag": (0.3, 0.26, 0.11),
}

BAGS: Final = 0.45
"""Share of the outfits with extras that have a bag."""

LAYERED: Final = 0.45
"""Share of the outfits with extras and short sleeves that have a second layer under the first."""

LAYER: Final = 0.01
"""Metres by which a garment over another stands off further."""

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


def colour_distance(first: Float32[np.ndarray, "3"], second: Float32[np.ndarray, "3"]) -> float:
    """Return the distance of two sRGB colours in the cone (saturation x value at the hue's angle, value)."""
    return float(np.linalg.norm(_cone(first) - _cone(second)))


def _cone(colour: np.ndarray) -> np.ndarray:
    hue, saturation, value = colorsys.rgb_to_hsv(*colour.tolist())
    angle = 2 * np.pi * hue
    return np.array([saturation * value * np.cos(angle), saturation * value * np.sin(angle), value])


def _nearly_same(seed: int, pid: int, number: int, model: Outfit) -> Outfit:
    draws = stream(seed, "imitated", pid, number)
    return replace(
        model,
        pid=pid,
        number=number,
        upper=_nearly(draws, model.upper),
        lower=_nearly(draws, model.lower),
        shoes=_nearly(draws, model.shoes),
        under=None if model.under is None else _nearly(draws, model.under),
        bag=None if model.bag is None else replace(model.bag, cloth=_nearly(draws, model.bag.cloth)),
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
