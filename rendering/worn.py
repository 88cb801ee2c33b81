"""The clothes on a posed body: what a renderer needs to know before it finds out what is visible.

What: `posed_cloth` dresses and projects a body; `worn_looks` lays its materials out for shading. Why: both renderers
begin here, and all that does not depend on the pose is kept.
Source: own design. Trade-off: a few bodies and outfits are kept in memory, some hundred kilobytes each.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from numba import njit

from resight.rendering.appearance import Appearance
from resight.rendering.body import Body, welded_faces
from resight.rendering.camera import Camera
from resight.rendering.garments import close_seams, face_keys, face_modes, inflate, standoffs
from resight.rendering.rasteriser import project_vertices

__all__ = ["PosedCloth", "Worn", "posed_cloth", "worn_looks"]


class PosedCloth(NamedTuple):
    """A dressed body in its pose, float64: what a renderer needs to know to find what is visible.

    Attributes:
        posed: (v, 3) vertices with their clothes, metres in the world.
        screen: (v, 2) x and y of the vertices in 1/256 of a sample.
        inverse: (v,) their inverse depth, 1/m; 0 for what is too near or far outside.
        along: (v,) position along the limb.
        mode: (f,) how each face is drawn (`rasteriser.DRAW` and so on).
        cut: (f,) where each face's part is cut.
        keys: (f,) row of the looks that each face shows (`garments.face_keys`).
    """

    posed: Float64[np.ndarray, "v 3"]
    screen: Int64[np.ndarray, "v 2"]
    inverse: Float64[np.ndarray, "v"]
    along: Float64[np.ndarray, "v"]
    mode: UInt8[np.ndarray, "f"]
    cut: Float64[np.ndarray, "f"]
    keys: Int64[np.ndarray, "f"]


def posed_cloth(
    vertices: Float32[np.ndarray, "v 3"], body: Body, appearance: Appearance, camera: Camera, supersample: int
) -> PosedCloth:
    """Put the clothes on a posed body and project it.

    Args:
        vertices: (v, 3) the posed body, metres in the world.
        body: whose vertices these are.
        appearance: the clothes.
        camera: focal lengths and principal point in pixels.
        supersample: samples a pixel and axis.
    """
    cloth = _cloth(body, appearance)
    position, rotation = np.asarray(camera.position, np.float64), np.ascontiguousarray(camera.rotation, np.float64)
    intrinsics = np.array([*camera.focal, *camera.principal], np.float64) * supersample
    posed, screen, inverse = _put_on(
        np.asarray(vertices, np.float64), welded_faces(body), body.seams, cloth.standoff, position, rotation, intrinsics
    )
    return PosedCloth(posed, screen, inverse, cloth.along, cloth.mode, cloth.cut, cloth.keys)


@njit(cache=True, nogil=True, error_model="numpy")
def _put_on(
    vertices: np.ndarray,
    welded: np.ndarray,
    seams: np.ndarray,
    standoff: np.ndarray,
    position: np.ndarray,
    rotation: np.ndarray,
    intrinsics: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices with their clothes, on the screen, and their inverse depth: kernels in one, for calls are dear."""
    posed = inflate(vertices, welded, standoff)
    close_seams(posed, seams)
    screen, inverse = project_vertices(posed, position, rotation, intrinsics)
    return posed, screen, inverse


class Worn(NamedTuple):
    """The appearance in float64, with the looks of each part side by side.

    Attributes:
        cut: (p,) place along the limb where each part is cut.
        inflation: (p, 2) metres that cloth stands off above and below the cut.
        flare: (p,) metres more at the cut.
        looks: (2 p, 18) materials above (row 2p) and below (2p + 1) the cut, then cosine and sine of their angle.
    """

    cut: np.ndarray
    inflation: np.ndarray
    flare: np.ndarray
    looks: np.ndarray


@lru_cache(maxsize=16)
def worn_looks(appearance: Appearance) -> Worn:
    """Lay out materials by part: row 2p above the cut of part p, 2p + 1 below; then cosine and sine of the angle."""
    order = np.stack([appearance.upper, appearance.lower], axis=1).ravel()
    rows = appearance.materials[order].astype(np.float64)
    looks = np.concatenate([rows, np.cos(rows[:, 8:9]), np.sin(rows[:, 8:9])], axis=1)
    cut, inflation, flare = (a.astype(np.float64) for a in (appearance.cut, appearance.inflation, appearance.flare))
    return Worn(cut, inflation, flare, looks)


class _Cloth(NamedTuple):
    """What clothes make of a body in any pose: `along` and standoff of vertices, mode, cut and key of faces."""

    along: np.ndarray
    standoff: np.ndarray
    mode: np.ndarray
    cut: np.ndarray
    keys: np.ndarray


@lru_cache(maxsize=16)
def _cloth(body: Body, appearance: Appearance) -> _Cloth:
    worn, along = worn_looks(appearance), body.along.astype(np.float64)
    standoff = standoffs(body.f, body.face_part, along, worn.cut, worn.inflation, worn.flare)
    np.maximum.at(standoff, body.seams[:, 1], standoff[body.seams[:, 0]])
    mode = face_modes(body.f, body.face_part, along, worn.looks, worn.cut)
    keys = face_keys(body.f, body.face_part, along, worn.cut)
    return _Cloth(along, standoff, mode, worn.cut[body.face_part], keys)
