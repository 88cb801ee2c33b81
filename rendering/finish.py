"""From SMPL's seven arrays to a body that can be dressed: parts, limb coordinates, clean rims, hair, named vertices.

What: `finished` takes any skinned mesh with SMPL's 24 joints. Why: the shipped body, a user's SMPL file and whatever
comes next go one way, so clothes fit all of them. The vertices that come in keep their numbers; new ones, on the rims
and in the hair, are appended. Source: own. Trade-off: where two limbs meet, vertices are doubled (`Body.seams`), so
the mesh is closed in space but not in its numbers.
"""

from dataclasses import replace

import numpy as np

from resight.rendering.body import Body
from resight.rendering.hairshell import hair_shell
from resight.rendering.landmarks import named_vertices
from resight.rendering.limbs import Fields, along_of, fields, limb_of_faces, lines, part_of_faces
from resight.rendering.parts import PART_ID
from resight.rendering.rims import Cut, cut_faces

__all__ = ["finished"]


def finished(body: Body) -> Body:
    """Return the body with parts, `along`, seams, hair and named vertices, whatever it had of them before."""
    names = list(lines(fields(body), body.v_template))
    for name in names:
        faces, cut = cut_faces(body.f, lines(fields(body), body.v_template)[name], 0.0)
        body = _carried(body, faces, cut)
    field = fields(body)
    limb = limb_of_faces(field, body.f)
    part = part_of_faces(field, body.f, limb)
    body = replace(body, vertex_ids=named_vertices(body), face_part=part)
    return _with_hair(_with_seams(body, field, limb))


def _carried(body: Body, faces: np.ndarray, cut: Cut) -> Body:
    """Cut the faces; joints stay where they were."""
    added = np.zeros((24, len(cut.parents)), np.float32)
    return replace(
        body,
        v_template=cut.mix(body.v_template).astype(np.float32),
        shapedirs=cut.mix(body.shapedirs).astype(np.float32),
        posedirs=cut.mix(body.posedirs).astype(np.float32),
        weights=cut.mix(body.weights).astype(np.float32),
        J_regressor=np.concatenate([body.J_regressor, added], axis=1),
        f=faces.astype(np.int32),
    )


def _with_seams(body: Body, field: Fields, limb: np.ndarray) -> Body:
    """Give every limb vertices of its own, copies where another limb has them, and set `along`."""
    faces, count = body.f.copy(), len(body.v_template)
    taken = np.full(count, -1)
    along = np.zeros(count)
    copies: list[np.ndarray] = []
    extra: list[np.ndarray] = []
    for number in range(5):
        rows = limb == number
        mine = np.unique(faces[rows])
        shared = mine[taken[mine] >= 0]
        place = _along(body, field, mine, number, faces[rows], body.face_part[rows])
        new = np.arange(len(shared)) + count + sum(map(len, copies))
        target = np.arange(count + len(new) + sum(map(len, copies)))
        target[shared] = new
        faces[rows] = target[faces[rows]]
        along[mine[taken[mine] < 0]] = place[taken[mine] < 0]
        extra.append(place[taken[mine] >= 0])
        copies.append(shared)
        taken[mine] = number
    originals = np.concatenate(copies)
    seams = np.stack([count + np.arange(len(originals)), originals], axis=1)
    return replace(
        _appended(body, originals),
        f=faces.astype(np.int32),
        along=np.concatenate([along, *extra]).astype(np.float32),
        seams=seams.astype(np.int32),
    )


def _along(body: Body, field: Fields, mine: np.ndarray, number: int, faces: np.ndarray, part: np.ndarray) -> np.ndarray:
    place = along_of(field, mine, number)
    if number >= 3:
        feet = np.unique(faces[np.isin(part, [PART_ID["left_foot"], PART_ID["right_foot"]])])
        shin = np.unique(faces[~np.isin(part, [PART_ID["left_foot"], PART_ID["right_foot"]])])
        only = np.isin(mine, feet) & ~np.isin(mine, shin)
        place = np.where(only, along_of(field, mine, number, foot=True), place)
    return place


def _appended(body: Body, originals: np.ndarray) -> Body:
    return replace(
        body,
        v_template=np.concatenate([body.v_template, body.v_template[originals]]),
        shapedirs=np.concatenate([body.shapedirs, body.shapedirs[originals]]),
        posedirs=np.concatenate([body.posedirs, body.posedirs[originals]]),
        weights=np.concatenate([body.weights, body.weights[originals]]),
        J_regressor=np.concatenate([body.J_regressor, np.zeros((24, len(originals)), np.float32)], axis=1),
    )


def _with_hair(body: Body) -> Body:
    shell, count = hair_shell(body), len(body.v_template)
    follow = np.einsum("nk,nkcb->ncb", shell.share, body.shapedirs[shell.near].astype(np.float64))
    grid = 2.0**17
    added = np.zeros((24, len(shell.at)), np.float32)
    return replace(
        body,
        v_template=np.concatenate([body.v_template, np.round(shell.at * grid) / grid]).astype(np.float32),
        shapedirs=np.concatenate([body.shapedirs, np.round(follow * grid) / grid]).astype(np.float32),
        posedirs=np.concatenate([body.posedirs, np.zeros((len(shell.at), 3, 207), np.float32)]),
        weights=np.concatenate([body.weights, shell.weights]).astype(np.float32),
        J_regressor=np.concatenate([body.J_regressor, added], axis=1),
        f=np.concatenate([body.f, shell.faces + count]).astype(np.int32),
        face_part=np.concatenate([body.face_part, np.full(len(shell.faces), PART_ID["hair"], np.uint8)]),
        along=np.concatenate([body.along, shell.along]).astype(np.float32),
    )
