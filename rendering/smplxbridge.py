"""The same bodies through the `smplx` package, for those who have it and may use it.

What: `smplx_model` opens a user's file with the package's class, `smplx_arguments` maps poses of our 24 joints to what
its forward pass takes. Why: the package is the reference that our skinning is held against, and a user may want its
fingers and faces. Source: the `smplx` package, 0.1.28. Its licence is for non-commercial research and excludes
surveillance; it is the extra `smpl`, never imported elsewhere and never needed. Trade-off: the package unpickles
without restraint, so the file is first read by our reader and handed over as plain arrays.
"""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from resight.cluster.errors import UserError
from resight.rendering.body import NUM_BETAS, Body
from resight.rendering.official import FAMILIES, family_of, read_official
from resight.rendering.parts import JOINT_ID

__all__ = ["smplx_arguments", "smplx_body", "smplx_model"]

_FINGERS = 15
_KNUCKLES = (0, 3, 6, 9)
_FACE_MARKS = 51


def smplx_body(body: Body) -> Any:
    """Return `smplx.SMPL` over one of our bodies.

    Raises:
        UserError: the package is not installed.
    """
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    arrays = {name: getattr(body, name) for name in names}
    package = _package()
    struct = importlib.import_module("smplx.utils").Struct(**arrays)
    return package.SMPL("", data_struct=struct, vertex_ids=body.vertex_ids)


def smplx_model(path: str | Path) -> Any:
    """Open a user's SMPL, SMPL-H or SMPL-X file with the package: flat hands, no principal components of hands.

    Raises:
        UserError: the package is not installed, or the file is refused (`official.read_official`).
    """
    package, arrays = _package(), read_official(path)
    family = family_of(arrays, str(path))
    arrays["kintree_table"] = arrays["kintree_table"].astype(np.int64)
    ids = dict.fromkeys(importlib.import_module("smplx.vertex_ids").vertex_ids["smplh"], 0)
    if len(arrays["v_template"]) > 6787:
        ids = importlib.import_module("smplx.vertex_ids").vertex_ids["smplx" if family == "smplx" else "smplh"]
    struct = importlib.import_module("smplx.utils").Struct(**arrays, **_hands())
    if family == "smpl":
        return package.SMPL("", data_struct=struct, vertex_ids=ids, num_betas=NUM_BETAS)
    options = {"use_pca": False, "flat_hand_mean": True, "num_betas": NUM_BETAS}
    if family == "smplh":
        return package.SMPLH("", data_struct=struct, vertex_ids=ids, **options)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "SMPLX_NEUTRAL.npz"
        marks = {"lmk_faces_idx": np.zeros(_FACE_MARKS, np.int64), "lmk_bary_coords": np.full((_FACE_MARKS, 3), 1 / 3)}
        np.savez(plain, allow_pickle=False, **arrays, **_hands(), **marks)
        return package.SMPLX(str(plain), **options)


def _hands() -> dict[str, np.ndarray]:
    """Hands at rest: what the package reads even when it is told not to use it."""
    size = 3 * _FINGERS
    return {
        f"hands_{what}{side}": np.zeros(shape)
        for side in "lr"
        for what, shape in (("components", (size, size)), ("mean", (size,)))
    }


def _package() -> Any:
    try:
        return importlib.import_module("smplx")
    except ModuleNotFoundError as error:
        raise UserError(
            "the package smplx is not installed",
            where="extra smpl",
            cure="read its licence (research only, no surveillance); then pip install 'resight[smpl]'",
        ) from error


def smplx_arguments(
    family: str, betas: Float[Tensor, "b 10"], pose: Float[Tensor, "b 24 3"], translation: Float[Tensor, "b 3"]
) -> dict[str, Tensor]:
    """Map a pose of our joints to the arguments of the package's forward pass.

    Args:
        family: smpl, smplh or smplx.
        betas: shape coefficients.
        pose: axis-angle rotations against the file's own rest pose, radians (`stance.fitted`).
        translation: metres.

    Returns:
        Keyword arguments. Hands that turn turn the first joints of four fingers, which only comes near ours; jaw, eyes
        and expression rest.
    """
    batch = len(pose)
    common = {"betas": betas, "global_orient": pose[:, 0], "transl": translation}
    if FAMILIES[family].joints == pose.shape[1]:
        return {**common, "body_pose": pose[:, 1:].flatten(1)}
    out = {**common, "body_pose": pose[:, 1:22].flatten(1)}
    for side in ("left", "right"):
        fingers = torch.zeros((batch, _FINGERS, 3), dtype=pose.dtype, device=pose.device)
        fingers[:, list(_KNUCKLES)] = pose[:, None, JOINT_ID[f"{side}_hand"]]
        out[f"{side}_hand_pose"] = fingers.flatten(1)
    if family == "smplx":
        rest = torch.zeros((batch, 3), dtype=pose.dtype, device=pose.device)
        out |= {"jaw_pose": rest, "leye_pose": rest, "reye_pose": rest, "expression": betas.new_zeros((batch, 10))}
    return out
