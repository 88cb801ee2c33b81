"""Who a person is: everything that stays when the clothes change.

What: body shape, skin, hair and the way of walking, drawn once for an identity. Why: in the cloth-changing split
these, and nothing else, say that two pictures show the same person, so each is drawn widely enough to be seen in a
crop of 128 x 64. Skin and hair differ in brightness far more than in hue and saturation: a histogram of hue and
saturation, which judges how much clothes give away, must not recognise people by their heads. Source: design of this
project; the cues are those that the literature on clothes-changing re-identification names (body shape, face and
hair, gait: Qian et al. 2020, LTCC). Trade-off: cues are independent of one another, which real ones are not (skin and
hair colour correlate): more bits for the same number of people.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32

from resight.rendering.draws import stream
from resight.rendering.poses import Gait

__all__ = ["HAIR_STYLES", "HairStyle", "Person", "double", "person", "sibling"]

HairStyle = Literal["bald", "short", "full", "bob", "long"]

HAIR_STYLES: Final[dict[HairStyle, float]] = {"bald": 0.12, "short": 0.32, "full": 0.2, "bob": 0.16, "long": 0.2}
"""Share of the people with each style, from none to shoulder length."""

MAX_BETA: Final = 2.5
"""Shape coefficients are clipped to this many standard deviations: beyond, bodies stop looking like people."""

NEARLY: Final = 0.35
"""Standard deviations by which the body of a double differs on each axis."""

SIBLINGS: Final = 0.5
"""Share of the people in somebody else's clothes who have that person's skin and hair too."""

_SKIN: Final = np.array(
    [[237, 192, 166], [214, 165, 137], [184, 135, 106], [143, 101, 79], [102, 71, 56], [71, 51, 41]], np.float32
)  # sRGB from light to dark, after the Fitzpatrick scale's six types, at nearly one hue and saturation
_HAIR: Final = np.array(
    [[32, 23, 18], [51, 37, 29], [82, 59, 46], [117, 86, 64], [189, 143, 106], [107, 70, 54], [140, 108, 87],
     [219, 174, 140]], np.float32,
)  # fmt: skip  # black, dark brown, brown, light brown, blond, auburn, ash, pale; the same
_HAIR_SHARES: Final = (0.24, 0.16, 0.13, 0.1, 0.12, 0.08, 0.09, 0.08)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One identity. Colours are sRGB in [0, 1].

    Attributes:
        pid: the identity's number in the data set.
        betas: (10,) float32 shape coefficients in standard deviations, within +-2.5.
        skin: (3,) float32.
        hair: (3,) float32.
        hair_style: from bald to long.
        beard: as dark as the hair.
        gait: how the person walks and holds itself.
    """

    pid: int
    betas: Float32[np.ndarray, "10"]
    skin: Float32[np.ndarray, "3"]
    hair: Float32[np.ndarray, "3"]
    hair_style: HairStyle
    beard: bool
    gait: Gait


@lru_cache(maxsize=4096)
def person(seed: int, pid: int) -> Person:
    """Draw identity `pid` of the world with this seed."""
    draws = stream(seed, "person", pid)
    betas = np.clip(draws.standard_normal(10), -MAX_BETA, MAX_BETA).astype(np.float32)
    betas.setflags(write=False)
    return Person(
        pid=pid,
        betas=betas,
        skin=_skin(draws),
        hair=_hair(draws),
        hair_style=_hair_style(draws),
        beard=bool(draws.random() < 0.2),
        gait=_gait(draws),
    )


@lru_cache(maxsize=4096)
def double(seed: int, pid: int, like: int) -> Person:
    """Draw identity `pid` with nearly the body and the skin of identity `like`, and hair and gait of its own."""
    own, model, draws = person(seed, pid), person(seed, like), stream(seed, "double", pid)
    betas = np.clip(model.betas + NEARLY * draws.standard_normal(10), -MAX_BETA, MAX_BETA).astype(np.float32)
    betas.setflags(write=False)
    return replace(own, betas=betas, skin=_frozen(model.skin * draws.uniform(0.96, 1.04, 3)))


@lru_cache(maxsize=4096)
def sibling(seed: int, pid: int, like: int) -> Person:
    """Draw identity `pid`, with the skin and hair of identity `like` where the two are siblings."""
    own, model = person(seed, pid), person(seed, like)
    if stream(seed, "sibling", pid).random() >= SIBLINGS:
        return own
    return replace(own, skin=model.skin, hair=model.hair, hair_style=model.hair_style)


def _skin(draws: np.random.Generator) -> Float32[np.ndarray, "3"]:
    tone = draws.random() * (len(_SKIN) - 1)
    low = min(int(tone), len(_SKIN) - 2)
    mixed = _SKIN[low] + (_SKIN[low + 1] - _SKIN[low]) * np.float32(tone - low)
    return _frozen(mixed / 255 * draws.uniform(0.96, 1.04, 3))


def _hair(draws: np.random.Generator) -> Float32[np.ndarray, "3"]:
    first, second = draws.choice(len(_HAIR), 2, p=_HAIR_SHARES)
    mixed = _HAIR[first] + (_HAIR[second] - _HAIR[first]) * draws.uniform(0, 0.25)
    return _frozen(mixed / 255 * draws.uniform(0.9, 1.1))


def _hair_style(draws: np.random.Generator) -> HairStyle:
    edges = np.cumsum(list(HAIR_STYLES.values()))
    return list(HAIR_STYLES)[int(np.searchsorted(edges, draws.random() * edges[-1], side="right"))]


_GAIT: Final[dict[str, tuple[float, float]]] = {
    "speed": (0.9, 1.7), "stride": (0.8, 1.2), "arm_swing": (0.2, 1.6), "sway": (0.2, 1.9), "lean": (-0.05, 0.17),
    "elbow": (0.08, 0.75), "turnout": (-0.04, 0.24), "arm_gap": (0.06, 0.28), "head": (-0.08, 0.26),
}  # fmt: skip


def _gait(draws: np.random.Generator) -> Gait:
    return Gait(**{name: float(draws.uniform(low, high)) for name, (low, high) in _GAIT.items()})


def _frozen(colour: np.ndarray) -> Float32[np.ndarray, "3"]:
    colour = np.clip(colour, 0, 1).astype(np.float32)
    colour.setflags(write=False)
    return colour
