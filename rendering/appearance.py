"""What a body wears: a table of procedural materials, and which of them covers which part, down to which cut.

A garment is a choice of parts and one length: sleeve, trouser leg and hair are cuts along a limb (`parts.LIMBS`), and
thick cloth is an inflation along the normals. Colours are linear RGB in [0, 1].
Source: own design. Trade-off: no cloth of its own geometry; skirts and open coats need other bodies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32

from resight.cluster.errors import UserError, did_you_mean
from resight.rendering.parts import LIMBS, NUM_PARTS, PART_ID, PARTS

__all__ = ["KINDS", "WHOLE", "Appearance", "Colour", "Wear", "bare", "dress", "material"]

Colour = tuple[float, float, float]

KINDS: Final = {
    "hidden": 0,
    "plain": 1,
    "stripes": 2,
    "checks": 3,
    "dots": 4,
    "noise": 5,
    "logo": 6,
    "plaid": 7,
    "face": 8,
}
"""hidden: not drawn at all (cut hair). stripes, checks, dots, plaid: periodic. noise: two colours in soft blotches.
logo: a seeded 5 x 5 glyph, mirrored left to right, on a plain ground. face: eyes, brows and mouth, for the head."""

WHOLE: Final = 2.0
"""A cut beyond the end of every limb: the upper material covers the whole part."""


def material(
    kind: str,
    colour: Colour,
    *,
    second: Colour = (1.0, 1.0, 1.0),
    scale: float = 20.0,
    angle: float = 0.0,
    duty: float = 0.5,
    roughness: float = 1.0,
    seed: int = 0,
    centre: tuple[float, float] = (0.0, 0.35),
    mottle: float = 0.0,
) -> Float32[np.ndarray, "16"]:
    """Return one row of the material table.

    Args:
        kind: one of `KINDS`.
        colour: of the ground, linear RGB.
        second: of the pattern, linear RGB.
        scale: periods (noise: blotches; logo: cells) a metre.
        angle: of the pattern, radians from horizontal stripes; for a logo, 0 is the chest and pi the back.
        duty: share of the second colour in a period, of blotches, or of a logo's cells, in [0, 1].
        roughness: 1 dull, 0 glossy.
        seed: of noise, logo and mottle; below 2**24.
        centre: of a logo, metres in the rest pose: x to the person's left, y above the pelvis.
        mottle: relative brightness of folds and stains, 0 none, 0.3 a lot.
    """
    if kind not in KINDS:
        raise UserError(f"no material kind {kind!r}", where="kind", cure=did_you_mean(kind, KINDS))
    row = (KINDS[kind], *colour, *second, scale, angle, duty, roughness, seed, *centre, mottle, 0.0)
    return np.array(row, dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Wear:
    """What covers one part.

    Attributes:
        upper: material where `along` is below the cut.
        lower: material from the cut on; the same as `upper` when None.
        cut: position along the limb.
        inflation: metres along the normal under the upper material.
        lower_inflation: the same under the lower one.
        flare: further metres under the upper material, growing from 0 at the limb's start to this at the cut.
    """

    upper: Float32[np.ndarray, "16"]
    lower: Float32[np.ndarray, "16"] | None = None
    cut: float = WHOLE
    inflation: float = 0.0
    lower_inflation: float = 0.0
    flare: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """What the renderer reads; arrays by part have 18 rows, of which row 0, the background, is not used.

    Attributes:
        materials: (M, 16) rows of `material`.
        upper, lower: (18,) row of the material above and below the cut.
        cut: (18,) position along the limb.
        inflation: (18, 2) metres along the normal, upper and lower.
        flare: (18,) further metres at the cut.
    """

    materials: Float32[np.ndarray, "m 16"]
    upper: Int32[np.ndarray, "18"]
    lower: Int32[np.ndarray, "18"]
    cut: Float32[np.ndarray, "18"]
    inflation: Float32[np.ndarray, "18 2"]
    flare: Float32[np.ndarray, "18"] = field(default_factory=lambda: np.zeros(NUM_PARTS + 1, np.float32))


def dress(wear: Mapping[str, Wear]) -> Appearance:
    """Gather what every part wears into tables; equal materials share a row.

    Raises:
        UserError: a part is missing or unknown.
    """
    for name in wear:
        if name not in PART_ID:
            raise UserError(f"no body part {name!r}", where="wear", cure=did_you_mean(name, PARTS))
    missing = [name for name in PARTS if name not in wear]
    if missing:
        raise UserError(f"nothing covers {', '.join(missing)}", where="wear", cure="start from bare(...)")
    rows: dict[bytes, int] = {}
    table: list[np.ndarray] = []

    def row_of(material: np.ndarray) -> int:
        key = material.tobytes()
        if key not in rows:
            rows[key] = len(table)
            table.append(material)
        return rows[key]

    worn = [wear[name] for name in PARTS]
    upper = [row_of(item.upper) for item in worn]
    lower = [row_of(item.upper if item.lower is None else item.lower) for item in worn]
    inflation = [(item.inflation, item.inflation if item.lower is None else item.lower_inflation) for item in worn]
    return Appearance(
        materials=np.stack(table).astype(np.float32),
        upper=np.array([0, *upper], np.int32),
        lower=np.array([0, *lower], np.int32),
        cut=np.array([0.0, *(item.cut for item in worn)], np.float32),
        inflation=np.array([(0.0, 0.0), *inflation], np.float32),
        flare=np.array([0.0, *(item.flare for item in worn)], np.float32),
    )


def bare(
    *,
    skin: Colour = (0.47, 0.27, 0.19),
    hair: Colour = (0.03, 0.02, 0.015),
    hair_length: float = LIMBS["hair"]["nape"],
) -> dict[str, Wear]:
    """Return skin everywhere and hair down to `hair_length` (0 bald, `LIMBS["hair"]`), to put clothes over."""
    covering = Wear(upper=material("plain", skin, roughness=0.8))
    hidden = material("hidden", skin)
    face = Wear(upper=material("face", skin, second=hair, roughness=0.8))
    locks = Wear(upper=material("plain", hair, roughness=0.7, mottle=0.25), lower=hidden, cut=hair_length)
    return {**dict.fromkeys(PARTS, covering), "head": face, "hair": locks}
