"""Linear blend skinning in torch: many bodies at once, on any device, differentiable.

Source: Loper et al. 2015, eqs. 2 to 10. Trade-off: its last bits depend on the machine's matrix library, so nothing
that is rendered comes from here (`skinning.skin_one`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from resight.rendering.body import Body
from resight.rendering.parts import PARENTS

__all__ = ["rotation_matrices", "skin"]


def rotation_matrices(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula; exact at zero, and differentiable there."""
    squared = (axis_angle * axis_angle).sum(-1, keepdim=True)[..., None]  # (..., 1, 1)
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + sine * cross + cosine * (cross @ cross)


def skin(
    body: Body,
    betas: Float[Tensor, "b 10"],
    pose: Float[Tensor, "b 24 3"],
    translation: Float[Tensor, "b 3"],
) -> tuple[Float[Tensor, "b v 3"], Float[Tensor, "b 24 3"]]:
    """Pose bodies; computed in the dtype and on the device of `betas`.

    Args:
        body: the model.
        betas: shape coefficients in standard deviations.
        pose: axis-angle rotation of each joint against its parent, radians; row 0 turns the whole body.
        translation: metres, added to everything.

    Returns:
        Vertices and joints, metres.
    """
    template, shapedirs, posedirs, regressor, weights = (
        torch.as_tensor(array, dtype=betas.dtype, device=betas.device)
        for array in (body.v_template, body.shapedirs, body.posedirs, body.J_regressor, body.weights)
    )
    shaped = template + torch.einsum("bk,vck->bvc", betas, shapedirs)
    rest_joints = torch.einsum("jv,bvc->bjc", regressor, shaped)
    rotations = rotation_matrices(pose)  # (B, 24, 3, 3)
    if body.posedirs.any():
        bend = (rotations[:, 1:] - torch.eye(3, dtype=betas.dtype, device=betas.device)).flatten(1)  # (B, 207)
        shaped = shaped + torch.einsum("bp,vcp->bvc", bend, posedirs)
    turns, joints = _chain(rotations, rest_joints)
    offsets = joints - torch.einsum("bjrc,bjc->bjr", turns, rest_joints)
    blended = torch.einsum("vj,bjrc->bvrc", weights, turns)
    vertices = torch.einsum("bvrc,bvc->bvr", blended, shaped) + torch.einsum("vj,bjr->bvr", weights, offsets)
    return vertices + translation[:, None], joints + translation[:, None]


def _chain(
    rotations: Float[Tensor, "b 24 3 3"], rest: Float[Tensor, "b 24 3"]
) -> tuple[Float[Tensor, "b 24 3 3"], Float[Tensor, "b 24 3"]]:
    turns, places = [rotations[:, 0]], [rest[:, 0]]
    for joint, parent in list(enumerate(PARENTS))[1:]:
        bone = rest[:, joint] - rest[:, parent]
        places.append(places[parent] + torch.einsum("brc,bc->br", turns[parent], bone))
        turns.append(turns[parent] @ rotations[:, joint])
    return torch.stack(turns, 1), torch.stack(places, 1)
