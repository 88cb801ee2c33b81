"""One body format: SMPL's seven arrays, plus what our renderer wants to know about its faces and vertices.

Source: Loper et al. 2015, "SMPL: A Skinned Multi-Person Linear Model"; array names and shapes are those of the
published model files, so the capsule body, a baked open body and a user's own file are interchangeable by path.
Trade-off: `.npz` read with `allow_pickle=False` only; official pickles are converted once, elsewhere.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from resight.cluster.errors import UserError
from resight.rendering.parts import PARENTS, VERTEX_NAMES, along_from_skeleton, parts_from_weights
from resight.rendering.plainfiles import read_arrays

__all__ = ["Body", "load_body", "save_body", "welded_faces"]

NUM_JOINTS: Final = 24
NUM_BETAS: Final = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """A skinned body with linear shape. Metres, y up, the person looks along +z, its left side is at +x.

    Attributes:
        v_template: (V, 3) mean shape in the rest pose.
        shapedirs: (V, 3, 10) displacement of each vertex for one standard deviation of each shape coefficient.
        posedirs: (V, 3, 207) pose correctives; may be all zero.
        J_regressor: (24, V) joints of the rest pose from shaped vertices; rows add up to 1.
        weights: (V, 24) skinning weights; rows add up to 1.
        kintree_table: (2, 24) row 0 the parents (-1 for the root), row 1 the joint numbers.
        f: (F, 3) faces, counter-clockwise seen from outside.
        face_part: (F,) part id of each face, 1..17 (`rendering.parts`).
        along: (V,) position along the limb in [0, 1], 0 proximal (`rendering.parts.LIMBS`).
        vertex_ids: vertex number of each of the 21 names in `rendering.parts.VERTEX_NAMES`.
        seams: (D, 2) pairs (copy, original) of vertices at one place that belong to two limbs, as at a shoulder: they
            differ in `along` only, and share one normal.
        word_scale: thresholds of the words for its shape by axis (`rendering.measure`); empty for the capsule body's.
    """

    v_template: Float32[np.ndarray, "v 3"]
    shapedirs: Float32[np.ndarray, "v 3 10"]
    posedirs: Float32[np.ndarray, "v 3 207"]
    J_regressor: Float32[np.ndarray, "24 v"]
    weights: Float32[np.ndarray, "v 24"]
    kintree_table: Int32[np.ndarray, "2 24"]
    f: Int32[np.ndarray, "f 3"]
    face_part: UInt8[np.ndarray, "f"]
    along: Float32[np.ndarray, "v"]
    vertex_ids: dict[str, int]
    seams: Int32[np.ndarray, "d 2"] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    word_scale: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])


_ARRAYS: Final = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_WORDS: Final = "words "
"""A body file has the thresholds of the words on an axis in an array of this name and the axis."""


def save_body(body: Body, path: str | Path, *, about: str = "") -> None:
    """Write `body` as a compressed `.npz` that `load_body` and loaders of SMPL arrays read without pickle.

    Args:
        body: what to write.
        path: of the file; numpy appends .npz where it is missing.
        about: where the body comes from and under which licence; kept as the text `about`.
    """
    arrays = {name: getattr(body, name) for name in (*_ARRAYS, "face_part", "along", "seams")}
    if body.vertex_ids:
        arrays["vertex_ids"] = np.array([body.vertex_ids[name] for name in VERTEX_NAMES], dtype=np.int64)
    for axis, levels in body.word_scale.items():
        arrays[_WORDS + axis] = np.array(levels)
    np.savez_compressed(path, allow_pickle=False, about=np.array(about), **arrays)


def load_body(path: str | Path) -> Body:
    """Read a body; parts and `along` are derived from the weights when the file holds only SMPL's seven arrays.

    Raises:
        UserError: the file is missing, not an `.npz` of plain arrays, or its arrays do not fit together.
    """
    arrays = read_arrays(path, what="body file", cure="bring SMPL's own files in with: resight body convert")
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise UserError(f"the body lacks {', '.join(missing)}", where=str(path), cure="save SMPL's seven arrays")
    body = _from_arrays(arrays, str(path))
    _check(body, str(path))
    return body


@lru_cache(maxsize=8)
def welded_faces(body: Body) -> Int32[np.ndarray, "f 3"]:
    """Return the faces with every copy on a seam replaced by its original: the skin as one closed surface."""
    if not len(body.seams):
        return body.f
    original = np.arange(len(body.v_template), dtype=np.int32)
    original[body.seams[:, 0]] = body.seams[:, 1]
    return original[body.f]


def _from_arrays(arrays: dict[str, np.ndarray], where: str) -> Body:
    template = _floats(arrays["v_template"])
    weights, faces = _floats(arrays["weights"]), np.ascontiguousarray(arrays["f"], dtype=np.int32)
    regressor = _floats(arrays["J_regressor"])
    if regressor.shape[-1:] != template.shape[:1] or weights.shape[:1] != template.shape[:1]:
        raise UserError("v_template, weights and J_regressor disagree on the number of vertices", where=where)
    if faces.size == 0 or faces.min() < 0 or faces.max() >= len(template):
        raise UserError("faces name vertices that do not exist", where=where)
    kintree = arrays["kintree_table"].astype(np.int64)
    kintree[0, 0] = -1  # published files hold 2**32 - 1 there
    along = arrays.get("along")
    part = arrays.get("face_part")
    ids = arrays.get("vertex_ids")
    return Body(
        v_template=template,
        shapedirs=_floats(arrays["shapedirs"][:, :, :NUM_BETAS]),
        posedirs=_floats(arrays["posedirs"]),
        J_regressor=regressor,
        weights=weights,
        kintree_table=kintree.astype(np.int32),
        f=faces,
        face_part=parts_from_weights(weights, faces) if part is None else part.astype(np.uint8),
        along=along_from_skeleton(template, regressor @ template, weights) if along is None else _floats(along),
        vertex_ids={} if ids is None else dict(zip(VERTEX_NAMES, ids.tolist(), strict=True)),
        seams=arrays.get("seams", np.zeros((0, 2))).astype(np.int32),
        word_scale={name.removeprefix(_WORDS): tuple(arrays[name].tolist()) for name in arrays if _WORDS in name},
    )


def _floats(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=np.float32)


def _check(body: Body, where: str) -> None:
    count = len(body.v_template)
    shapes = {
        "v_template": (count, 3),
        "shapedirs": (count, 3, NUM_BETAS),
        "posedirs": (count, 3, (NUM_JOINTS - 1) * 9),
        "J_regressor": (NUM_JOINTS, count),
        "weights": (count, NUM_JOINTS),
        "kintree_table": (2, NUM_JOINTS),
        "along": (count,),
        "face_part": (len(body.f),),
        "seams": (len(body.seams), 2),
    }
    for name, expected in shapes.items():
        found = getattr(body, name).shape
        if found != expected:
            raise UserError(f"{name} has shape {found}, expected {expected}", where=where)
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "along"):
        if not np.isfinite(getattr(body, name)).all():
            raise UserError(f"{name} holds numbers that are not finite", where=where, cure="export the body again")
    if tuple(body.kintree_table[0].tolist()) != PARENTS:
        raise UserError("the joints are not SMPL's 24 with SMPL's parents", where=where)
