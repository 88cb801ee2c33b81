"""The OpenGL renderer: pyrender finds which face every sample shows, our own second pass makes everything else of it.

What: `PyrenderBack.draw` has the arguments and the result of `shading.render`. pyrender draws the mesh once, in its
mode for segmentation, with a shader of ours that writes the face's number as the colour; `resolve` then shades, exactly
as it does after the z-buffer. Why: a second, independent opinion on geometry (projection, edges, depth), with the same
patterns, light and labels, so that images may be compared pixel by pixel. It runs on the EGL of Mesa and of NVIDIA.
Source: pyrender 0.1.45 (MIT), Matl 2019; gl_PrimitiveID of GLSL 3.30.
Trade-off: a draw, a read-back and two context switches an image, and bytes that depend on the driver, so the driver's
name stands in the fingerprint. OpenGL contexts belong to one thread: one renderer a process, on a thread of its own.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Float64, Int32

from resight.cluster.errors import UserError
from resight.rendering.appearance import Appearance
from resight.rendering.body import Body
from resight.rendering.camera import Camera
from resight.rendering.rasteriser import DRAW, HIDE_UPPER, SKIP
from resight.rendering.samples import pack_samples
from resight.rendering.shading import Frame, Lights, shade
from resight.rendering.worn import posed_cloth

__all__ = ["CURE", "PyrenderBack", "open_pyrender"]

CURE: Final = (
    "pip install 'resight[pyrender]'; apt-get install libegl1 libgl1-mesa-dri (Mesa), or the NVIDIA driver's libraries "
    "(in containers NVIDIA_DRIVER_CAPABILITIES=graphics); or use --renderer numba, which needs none of them"
)

_SHADERS: Final = Path(__file__).parent / "shaders"
"""In place of pyrender's own, for its mode that draws without light and without several samples a pixel."""


@cache
def open_pyrender() -> "PyrenderBack":
    """Return this process's renderer.

    Raises:
        UserError: where pyrender, EGL or a driver is missing.
    """
    return PyrenderBack()


class PyrenderBack:
    """One OpenGL context on a thread of its own.

    Attributes:
        device: the GL renderer's name and version, e.g. "llvmpipe (LLVM 15.0.7, 256 bits) 4.5 (Core Profile) ...".
    """

    def __init__(self) -> None:
        _find_egl()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pyrender")
        self._pyrender, self._renderer, self.device = self._thread.submit(_open).result()

    def draw(
        self,
        vertices: Float32[np.ndarray, "v 3"],
        rest: Float32[np.ndarray, "v 3"],
        body: Body,
        appearance: Appearance,
        camera: Camera,
        lights: Lights,
        *,
        supersample: int = 2,
    ) -> Frame:
        """Draw one body; see `shading.render`."""
        cloth = posed_cloth(vertices, body, appearance, camera, supersample)
        points, faces, owner = _cut(cloth.posed, body.f, cloth.mode, cloth.along, cloth.cut)
        numbers, depth = self._thread.submit(self._faces, points, faces, camera, supersample).result()
        seen = np.where(numbers > 0, owner[np.maximum(numbers - 1, 0)], -1).astype(np.int32)
        nearest = np.zeros_like(depth)
        np.divide(np.float32(1), depth, out=nearest, where=(numbers > 0) & (depth > 0))
        return shade(cloth, pack_samples(seen, nearest), rest, body, appearance, camera, lights, supersample)

    def _faces(
        self, points: Float64[np.ndarray, "v 3"], faces: Int32[np.ndarray, "f 3"], camera: Camera, supersample: int
    ) -> tuple[Int32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Return the number of the face at each sample, counted from 1, 0 for none; and its depth. On the thread."""
        if not len(faces):
            size = camera.height * supersample, camera.width * supersample
            return np.zeros(size, np.int32), np.zeros(size, np.float32)
        away = camera.project(points)[:, 2]
        near, far = max(0.5 * float(away.min()), 0.05), 1.5 * max(float(away.max()), 0.2)
        view = self._pyrender.Scene()
        # Positions relative to the camera: OpenGL works in float32.
        node = view.add(self._pyrender.Mesh([self._pyrender.Primitive((points - camera.position), indices=faces)]))
        pose = np.eye(4)
        pose[:3, :3] = np.asarray(camera.rotation).T * (1.0, -1.0, -1.0)  # its cameras look along -z, with y up
        lens = np.array([*camera.focal, *camera.principal]) * supersample
        view.add(self._pyrender.IntrinsicsCamera(*lens.tolist(), znear=near, zfar=far), pose=pose)
        self._renderer.viewport_width = camera.width * supersample
        self._renderer.viewport_height = camera.height * supersample
        flags = self._pyrender.RenderFlags.SEG
        colour, depth = self._renderer.render(view, flags=flags, seg_node_map={node: (0, 0, 0)})
        whole = colour.astype(np.int32)
        return whole[..., 0] + (whole[..., 1] << 8) + (whole[..., 2] << 16), np.ascontiguousarray(depth)


def _find_egl() -> None:
    """Raise what a user can act upon before libraries raise what one cannot."""
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        raise UserError(
            f"pyrender needs EGL, which is not here: {error}", where="--renderer pyrender", cure=CURE
        ) from error


def _open() -> tuple[Any, Any, str]:
    """Import pyrender and open its context, on the thread that will use it.

    All that pyrender 0.1.45 needs today stands here: it asks for `np.infty`, which numpy 2 has no more, and reads the
    platform when it is imported.
    """
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    if not hasattr(np, "infty"):
        numpy: Any = np
        numpy.infty = np.inf
    try:
        pyrender: Any = import_module("pyrender")
        shader_program: Any = import_module("pyrender.shader_program")
        from OpenGL.error import Error
    except (ImportError, AttributeError) as error:  # PyOpenGL's platform module meets None where there is no EGL
        raise UserError(f"pyrender cannot be used: {error}", where="--renderer pyrender", cure=CURE) from error
    try:
        renderer: Any = pyrender.OffscreenRenderer(64, 128)
    except (Error, ImportError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"no OpenGL context: {error}", where="--renderer pyrender", cure=CURE) from error
    renderer._renderer._program_cache = shader_program.ShaderProgramCache(shader_dir=str(_SHADERS))
    return pyrender, renderer, _device(renderer)


def _device(renderer: Any) -> str:
    gl: Any = import_module("OpenGL.GL")
    renderer._platform.make_current()
    name, version = (gl.glGetString(what).decode() for what in (gl.GL_RENDERER, gl.GL_VERSION))
    renderer._platform.make_uncurrent()
    return f"{name}, OpenGL {version}"


def _cut(
    points: Float64[np.ndarray, "v 3"],
    faces: Int32[np.ndarray, "f 3"],
    mode: np.ndarray,
    along: np.ndarray,
    cut: np.ndarray,
) -> tuple[Float64[np.ndarray, "w 3"], Int32[np.ndarray, "g 3"], Int32[np.ndarray, "g"]]:
    """Leave hidden faces out and cut those that a hem crosses, which OpenGL cannot do sample by sample.

    Returns:
        Vertices, faces, and the face that each of these was.
    """
    whole = np.nonzero(mode == DRAW)[0]
    crossed = np.nonzero((mode != DRAW) & (mode != SKIP))[0]
    more: list[np.ndarray] = []
    pieces: list[tuple[int, int, int]] = []
    owner: list[int] = []
    for face in crossed.tolist():
        corners = _kept(points[faces[face]], along[faces[face]], float(cut[face]), above=mode[face] != HIDE_UPPER)
        first = len(points) + len(more)
        more += corners
        for n in range(len(corners) - 2):
            pieces.append((first, first + n + 1, first + n + 2))
            owner.append(face)
    if not pieces:
        return points, np.ascontiguousarray(faces[whole]), whole.astype(np.int32)
    everything = np.concatenate([faces[whole], np.array(pieces, np.int32)])
    return np.concatenate([points, np.array(more)]), everything, np.array([*whole.tolist(), *owner], np.int32)


def _kept(points: np.ndarray, along: np.ndarray, cut: float, *, above: bool) -> list[np.ndarray]:
    """Return the corners of what is left of a triangle: the part `above` the cut (where `along` is less), or below."""
    corners: list[np.ndarray] = []
    for one, other in ((0, 1), (1, 2), (2, 0)):
        inside, next_inside = (along[one] < cut) == above, (along[other] < cut) == above
        if inside:
            corners.append(points[one])
        if inside != next_inside:
            share = (cut - along[one]) / (along[other] - along[one])
            corners.append(points[one] + share * (points[other] - points[one]))
    return corners
