"""A user's own poses: axis-angle rotations of SMPL's joints in an `.npz`.

What: `read_poses` takes arrays as estimators and motion libraries write them: `poses` or `pose` of (N, 72), (N, 24, 3),
or the longer ones of SMPL-H and SMPL-X, or `body_pose` beside `global_orient`. Why: walking by formula is only one way
to stand before a camera. Source: the names are those of AMASS (Mahmood et al. 2019) and of the `smplx` package.
Trade-off: fingers and faces are left out; rotations count from SMPL's rest pose, arms straight out.
"""

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Float32

from resight.cluster.errors import UserError
from resight.rendering.plainfiles import read_arrays

__all__ = ["read_poses"]

_NAMES: Final = ("poses", "pose", "body_pose", "global_orient")
_SIZES: Final = {72: "SMPL", 156: "SMPL-H", 165: "SMPL-X"}
_BODY: Final = 66
"""Numbers of the 22 joints that all of them share."""

_LARGEST: Final = 4 * np.pi


def read_poses(path: str | Path) -> Float32[np.ndarray, "n 24 3"]:
    """Read poses: radians, against SMPL's rest pose; row 0 of each turns the whole body.

    Raises:
        UserError: the file or its arrays are missing, have other sizes, or hold what cannot be a rotation.
    """
    arrays = _arrays(path)
    if "body_pose" in arrays:
        flat = _joined(arrays, str(path))
    else:
        name = next((name for name in ("poses", "pose") if name in arrays), None)
        if name is None:
            raise UserError("there are no poses in it", where=str(path), cure="name the array poses, (N, 72), radians")
        flat = arrays[name].reshape(len(arrays[name]) if arrays[name].ndim > 1 else 1, -1)
    if flat.shape[1] not in _SIZES:
        known = ", ".join(f"{size} ({title})" for size, title in _SIZES.items())
        raise UserError(f"a pose has {flat.shape[1]} numbers", where=str(path), cure=f"use {known}")
    out = np.zeros((len(flat), 24, 3), np.float32)
    out.reshape(len(flat), -1)[:, :_BODY] = flat[:, :_BODY]
    if flat.shape[1] == 72:
        out.reshape(len(flat), -1)[:, _BODY:] = flat[:, _BODY:]
    _check(out, str(path))
    return out


def _arrays(path: str | Path) -> dict[str, np.ndarray]:
    arrays = read_arrays(path, what="file of poses", cure="save them with numpy.savez", only=_NAMES)
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not array.size:
            raise UserError(
                f"{name} is {array.dtype} of {array.shape}", where=str(path), cure="save numbers, one pose a row"
            )
    return arrays


def _joined(arrays: dict[str, np.ndarray], where: str) -> Float[np.ndarray, "n k"]:
    if "global_orient" not in arrays:
        raise UserError(
            "there is body_pose without global_orient", where=where, cure="save both, or poses of 72 numbers"
        )
    body = arrays["body_pose"].reshape(len(arrays["body_pose"]), -1)
    root = arrays["global_orient"].reshape(len(arrays["global_orient"]), -1)
    if len(body) != len(root) or root.shape[1] != 3 or body.shape[1] not in (63, 69):
        raise UserError(
            f"body_pose is {arrays['body_pose'].shape}, global_orient {arrays['global_orient'].shape}",
            where=where,
            cure="use (N, 69) or (N, 63) beside (N, 3)",
        )
    missing = 69 - body.shape[1]
    return np.concatenate([root, body, np.zeros((len(body), missing))], axis=1)


def _check(poses: Float32[np.ndarray, "n 24 3"], where: str) -> None:
    if not np.isfinite(poses).all():
        row = int(np.argmax(~np.isfinite(poses).all(axis=(1, 2))))
        raise UserError(f"pose {row} holds numbers that are not finite", where=where, cure="leave such frames out")
    size = np.sqrt(np.sum(poses.astype(np.float64) ** 2, axis=2))
    if size.max() > _LARGEST:
        row = int(size.max(axis=1).argmax())
        raise UserError(
            f"pose {row} turns a joint by {size.max():.0f} radians", where=where, cure="save radians, not degrees"
        )
