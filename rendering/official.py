"""The user's own SMPL, SMPL-H or SMPL-X file, brought into the one format of this project.

What: `read_official` reads the published `.pkl` or `.npz` as plain arrays, `convert` turns them into a `Body`: 24
joints, ten shape coefficients, parts, rims, hair. Why: everything behind it (renderer, losses, labels) then sees one
kind of body. Source: Loper et al. 2015; Romero et al. 2017 (SMPL-H, 52 joints); Pavlakos et al. 2019 (SMPL-X, 55
joints, 400 shape directions of which the first are the body's). Trade-off: jaw, eyes and fingers do not move of their
own: their weights go to the head, the hand and, for the thumb, the wrist, which is exact while they rest.
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from resight.cluster.errors import UserError
from resight.rendering.body import NUM_BETAS, NUM_JOINTS, Body
from resight.rendering.finish import finished
from resight.rendering.parts import JOINT_ID, PARENTS
from resight.rendering.plainfiles import read_arrays
from resight.rendering.unpickling import read_pickle
from resight.rendering.wordscale import word_scale

__all__ = ["FAMILIES", "Family", "convert", "family_of", "read_official"]

_NAMES: Final = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_BODY_JOINTS: Final = 22
"""Joints that SMPL, SMPL-H and SMPL-X share: all of SMPL's but the two hands."""

_KNUCKLES: Final = (0, 3, 6, 9)
_THUMB: Final = (12, 13, 14)
"""Within the fifteen joints of a hand: the first of four fingers, and the thumb's."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """How one kind of file numbers its joints.

    Attributes:
        title: its name.
        joints: how many it has.
        hands: first joint of the left and the right hand.
        head: joints that move with the head here.
    """

    title: str
    joints: int
    hands: tuple[int, int]
    head: tuple[int, ...] = ()


FAMILIES: Final = {
    "smpl": Family(title="SMPL", joints=24, hands=(22, 23)),
    "smplh": Family(title="SMPL-H", joints=52, hands=(22, 37)),
    "smplx": Family(title="SMPL-X", joints=55, hands=(25, 40), head=(22, 23, 24)),
}


def read_official(path: str | Path) -> dict[str, np.ndarray]:
    """Read a published file's seven arrays, without running anything in it.

    Raises:
        UserError: the file is missing, damaged, no body model, or would have to be run to be read.
    """
    found: dict[str, Any] = (
        {**read_arrays(path, what="body model", cure="give the .pkl of the model instead", only=_NAMES)}
        if zipfile.is_zipfile(path)
        else read_pickle(path)
    )
    missing = [name for name in _NAMES if name not in found]
    if missing:
        raise UserError(
            f"the file lacks {', '.join(missing)}",
            where=str(path),
            cure="give the model's file, not its textures or poses",
        )
    arrays = {name: np.asarray(found[name]) for name in _NAMES}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise UserError(f"{name} holds no numbers but {array.dtype}", where=str(path), cure="download it again")
    return arrays


def family_of(arrays: dict[str, np.ndarray], where: str) -> str:
    """Tell the kind of a file by its joints.

    Raises:
        UserError: it is none of `FAMILIES`, or its arrays do not fit together.
    """
    count = arrays["weights"].shape[-1]
    name = next((name for name, family in FAMILIES.items() if family.joints == count), None)
    if name is None:
        known = ", ".join(f"{family.title} {family.joints}" for family in FAMILIES.values())
        raise UserError(f"the body has {count} joints", where=where, cure=f"use one of: {known}")
    vertices = arrays["v_template"].shape[0]
    expected: dict[str, tuple[int | None, ...]] = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, None),
        "posedirs": (vertices, 3, (count - 1) * 9),
        "J_regressor": (count, vertices),
        "weights": (vertices, count),
        "kintree_table": (2, count),
        "f": (None, 3),
    }
    for array, shape in expected.items():
        found = arrays[array].shape
        if len(found) != len(shape) or any(size not in (None, real) for size, real in zip(shape, found, strict=True)):
            raise UserError(f"{array} has shape {found}, expected {shape}", where=where, cure="download it again")
    if arrays["shapedirs"].shape[2] < NUM_BETAS:
        raise UserError(f"there are fewer than {NUM_BETAS} shape directions", where=where)
    parents = arrays["kintree_table"][0, 1:_BODY_JOINTS].astype(np.int64).tolist()
    if tuple(parents) != PARENTS[1:_BODY_JOINTS]:
        raise UserError("the joints of the body are not SMPL's", where=where)
    return name


def convert(path: str | Path, *, people: int = 150) -> Body:
    """Bring a user's file into the format of this project.

    Its vertices keep their numbers and positions; rims and hair are appended.

    Args:
        path: of the file.
        people: how many shapes are measured for its scale of words.

    Raises:
        UserError: what `read_official` and `family_of` refuse.
    """
    arrays = read_official(path)
    body = finished(reduced(arrays, FAMILIES[family_of(arrays, str(path))]))
    return replace(body, word_scale=word_scale(body, people=people))


def reduced(arrays: dict[str, np.ndarray], family: Family) -> Body:
    """Sum joints up to SMPL's 24; exact while jaw, eyes and fingers rest."""
    sums = _sums(family)
    posedirs = np.zeros((*arrays["v_template"].shape, (NUM_JOINTS - 1) * 9), np.float32)
    kept = ((NUM_JOINTS if family.joints == NUM_JOINTS else _BODY_JOINTS) - 1) * 9
    posedirs[:, :, :kept] = arrays["posedirs"][:, :, :kept]
    faces = arrays["f"].astype(np.int32)
    return Body(
        v_template=arrays["v_template"].astype(np.float32),
        shapedirs=np.ascontiguousarray(arrays["shapedirs"][:, :, :NUM_BETAS], np.float32),
        posedirs=posedirs,
        J_regressor=(_places(family) @ arrays["J_regressor"]).astype(np.float32),
        weights=(arrays["weights"] @ sums.T).astype(np.float32),
        kintree_table=np.array([PARENTS, range(NUM_JOINTS)], np.int32),
        f=faces,
        face_part=np.ones(len(faces), np.uint8),
        along=np.zeros(len(arrays["v_template"]), np.float32),
        vertex_ids={},
    )


def _sums(family: Family) -> Float[np.ndarray, "24 j"]:
    """Which of the file's joints move with each of ours."""
    out = np.zeros((NUM_JOINTS, family.joints))
    out[range(_BODY_JOINTS), range(_BODY_JOINTS)] = 1.0
    out[JOINT_ID["head"], list(family.head)] = 1.0
    for side, first in zip(("left", "right"), family.hands, strict=True):
        fingers = [first] if family.joints == NUM_JOINTS else [first + n for n in range(15) if n not in _THUMB]
        out[JOINT_ID[f"{side}_hand"], fingers] = 1.0
        if family.joints > NUM_JOINTS:
            out[JOINT_ID[f"{side}_wrist"], [first + n for n in _THUMB]] = 1.0
    return out


def _places(family: Family) -> Float[np.ndarray, "24 j"]:
    """Where each of our joints lies between the file's: the hand in the middle of its knuckles."""
    out = np.zeros((NUM_JOINTS, family.joints))
    out[range(_BODY_JOINTS), range(_BODY_JOINTS)] = 1.0
    for side, first in zip(("left", "right"), family.hands, strict=True):
        knuckles = [first] if family.joints == NUM_JOINTS else [first + n for n in _KNUCKLES]
        out[JOINT_ID[f"{side}_hand"], knuckles] = 1 / len(knuckles)
    return out
