"""Putting a person's outfit on the body: garments and hair as materials with cuts along the limbs.

What: `dressed` turns a `Person` and an `Outfit` into the `Appearance` the renderer reads. Why: people and clothes are
drawn without knowing the body's parts; this is the one place that knows both. Source: limbs and their landmarks are
`parts.LIMBS`; sRGB's transfer curve is IEC 61966-2-1. Trade-off: hair under a cap is cut off at the cap unless it is
long.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float32

from resight.rendering.appearance import Appearance, Colour, Wear, dress, material
from resight.rendering.outfits import Garment, Outfit
from resight.rendering.parts import LIMBS, PARTS
from resight.rendering.people import HairStyle, Person

__all__ = ["HAIR_CUTS", "chest", "cloth", "dressed", "linear", "moulded"]

HAIR_CUTS: Final[dict[HairStyle, tuple[float, float]]] = {
    "bald": (0.0, 0.0),
    "short": (0.34, 0.0),
    "full": (0.46, 0.022),
    "bob": (0.64, 0.006),
    "long": (0.97, 0.008),
}
"""Where the hair ends (`LIMBS["hair"]`), and how many metres it stands off."""

CLAY: Final[Colour] = (0.33, 0.32, 0.31)
"""Of bodies that wear nothing and have no skin or hair."""

_CAP: Final = 0.27
"""Where a cap ends on the hair."""


def linear(colour: Float32[np.ndarray, "3"]) -> Colour:
    """Return an sRGB colour in [0, 1] as linear red, green, blue."""
    value = colour.astype(np.float64)
    red, green, blue = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).tolist()
    return (red, green, blue)


def dressed(person: Person, outfit: Outfit) -> Appearance:
    """Dress the person."""
    skin = material("plain", linear(person.skin), roughness=0.75)
    sleeve = _covering(outfit.upper, skin, LIMBS["arm"]["elbow"] * outfit.upper.length)
    if outfit.under is not None:
        sleeve = replace(sleeve, lower=cloth(outfit.under), lower_inflation=outfit.under.fit)
    leg = _covering(outfit.lower, skin, LIMBS["leg"]["knee"] * outfit.lower.length)
    shirt, trousers = cloth(outfit.upper), cloth(outfit.lower)
    fits = outfit.upper.fit, outfit.lower.fit
    trunk = Wear(upper=shirt, lower=trousers, cut=outfit.hem, inflation=fits[0], lower_inflation=fits[1])
    shoe = Wear(upper=cloth(outfit.shoes), inflation=outfit.shoes.fit)
    limbs = {"upper_arm": sleeve, "forearm": sleeve, "thigh": leg, "shin": leg, "foot": shoe, "hand": Wear(upper=skin)}
    return dress(
        {
            "head": _head(person),
            "hair": _hair(person, outfit),
            "neck": _neck(outfit, skin),
            "torso": trunk,
            "hips": trunk,
            **{f"{side}_{name}": worn for name, worn in limbs.items() for side in ("left", "right")},
        }
    )


def moulded() -> Appearance:
    """Return the body itself in clay: no clothes, no skin, no face, no hair."""
    clay = Wear(upper=material("plain", CLAY, roughness=0.9))
    hidden = Wear(upper=material("hidden", CLAY))
    return dress({**dict.fromkeys(PARTS, clay), "hair": hidden})


def chest(person: Person, outfit: Outfit) -> Appearance:
    """Return what a low neckline shows (`strips.neckline`): skin, or a layer under the first, just above the cloth."""
    skin = material("plain", linear(person.skin), roughness=0.75)
    below = skin if outfit.under is None else cloth(outfit.under)
    return dress(dict.fromkeys(PARTS, Wear(upper=below, inflation=outfit.upper.fit + 0.003)))


def _neck(outfit: Outfit, skin: Float32[np.ndarray, "16"]) -> Wear:
    """A collar covers the neck from below; the neck's own share of the trunk ends where the shoulders begin."""
    if outfit.collar <= 0:
        return Wear(upper=skin)
    top = LIMBS["trunk"]["neck"] * (1 - outfit.collar)
    worn = outfit.under or outfit.upper
    return Wear(upper=skin, lower=cloth(worn), cut=top, lower_inflation=0.004)


def _covering(garment: Garment, skin: Float32[np.ndarray, "16"], cut: float) -> Wear:
    return Wear(upper=cloth(garment), lower=skin, cut=cut, inflation=garment.fit)


def cloth(garment: Garment) -> Float32[np.ndarray, "16"]:
    """Return the material of a garment."""
    return material(
        garment.pattern,
        linear(garment.colour),
        second=linear(garment.second),
        scale=garment.scale,
        angle=garment.angle,
        duty=garment.duty,
        seed=garment.seed,
        mottle=0.12,
    )


def _head(person: Person) -> Wear:
    """A face, and for a beard the hair's colour from the mouth down."""
    face = material("face", linear(person.skin), second=linear(person.hair), roughness=0.75)
    return Wear(upper=face, lower=_locks(person), cut=0.76) if person.beard else Wear(upper=face)


def _locks(person: Person) -> Float32[np.ndarray, "16"]:
    return material("plain", linear(person.hair), roughness=0.7, mottle=0.25, scale=60.0, seed=person.pid % 2**24)


def _hair(person: Person, outfit: Outfit) -> Wear:
    hidden = material("hidden", linear(person.skin))
    cut, volume = HAIR_CUTS[person.hair_style]
    if outfit.hat is not None:
        below = _locks(person) if person.hair_style == "long" else hidden
        return Wear(upper=cloth(outfit.hat), lower=below, cut=_CAP, inflation=outfit.hat.fit, lower_inflation=volume)
    return Wear(upper=_locks(person), lower=hidden, cut=cut, inflation=volume)
