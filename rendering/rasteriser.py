"""A z-buffer in numba: which face each sample of the image sees, and how far away it is.

Why: no GL, no context, no driver, and the same bytes on every machine. Screen positions are snapped to 1/256 of a
sample and edges tested in integers, so neighbouring faces neither overlap nor leave gaps (top-left rule), and float64
without fast-math does the rest. Inverse depth and face share one integer a sample (`samples`), so that keeping the
nearest is a maximum: rows of a face have no branch, and compilers make vectors of them.
Source: Pineda 1988 (edge functions); the top-left rule of Direct3D's rasterisation rules. Trade-off: one thread an
image (many images in parallel keep every core busy), faces that cross the near plane are dropped, not clipped, and the
whole box around a face is tested, which is dear only for faces far larger than a body's.
"""

from typing import Final

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt8
from numba import njit

from resight.rendering.samples import NOTHING, pack

__all__ = ["DRAW", "HIDE_LOWER", "HIDE_UPPER", "SKIP", "SUBPIXEL", "project_vertices", "rasterise"]

SUBPIXEL: Final = 256
NEAR: Final = 0.05  # metres
DRAW, SKIP, HIDE_UPPER, HIDE_LOWER = 0, 1, 2, 3
_LANES: Final = 4  # rows of a face are drawn in multiples of this; the buffer is that much longer than the image
_FAR_OUT = 1 << 20  # samples; keeps edge functions inside 64 bits


@njit(cache=True, nogil=True, error_model="numpy")
def project_vertices(
    vertices: Float64[np.ndarray, "v 3"],
    position: Float64[np.ndarray, "3"],
    rotation: Float64[np.ndarray, "3 3"],
    intrinsics: Float64[np.ndarray, "4"],
) -> tuple[Int64[np.ndarray, "v 2"], Float64[np.ndarray, "v"]]:
    """Project to samples.

    Args:
        vertices: metres.
        position: of the camera, metres.
        rotation: world to camera.
        intrinsics: focal x, focal y, principal x, principal y in samples.

    Returns:
        Screen x, y in 1/256 of a sample, and the inverse depth in 1/m; 0 for what is too near or far outside.
    """
    count = vertices.shape[0]
    screen = np.zeros((count, 2), np.int64)
    inverse = np.zeros(count)
    for vertex in range(count):
        x, y, z = (
            vertices[vertex, 0] - position[0], vertices[vertex, 1] - position[1], vertices[vertex, 2] - position[2]
        )  # fmt: skip
        depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        if depth < NEAR:
            continue
        across = (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z) / depth * intrinsics[0] + intrinsics[2]
        down = (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) / depth * intrinsics[1] + intrinsics[3]
        if abs(across) > _FAR_OUT or abs(down) > _FAR_OUT:
            continue
        screen[vertex, 0] = np.int64(np.floor(across * SUBPIXEL + 0.5))
        screen[vertex, 1] = np.int64(np.floor(down * SUBPIXEL + 0.5))
        inverse[vertex] = 1.0 / depth
    return screen, inverse


@njit(cache=True, nogil=True, error_model="numpy")
def _bias(dx: int, dy: int) -> int:
    """Samples on an edge belong to the face whose top or left edge it is."""
    return 0 if dy < 0 or (dy == 0 and dx > 0) else -1


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _draw_row(
    packed: np.ndarray,
    start: int,
    wide: int,
    face: int,
    edges: tuple[int, int, int],
    steps: tuple[int, int, int],
    base: float,
    slope: float,
) -> None:
    """Draw a row of a face, `wide` samples from `start`; those up to a multiple of `_LANES` stay as they are."""
    wa, wb, wc = edges
    step_a, step_b, step_c = steps
    for column in range((wide + _LANES - 1) & -_LANES):
        outside = wa | wb | wc | (wide - 1 - column)
        code = pack(base + column * slope, face)
        sample = np.uint64(start) + np.uint64(column)  # unsigned: no look out for negative indices
        packed[sample] = max(packed[sample], code if outside >= 0 else NOTHING)
        wa += step_a  # summed, not multiplied: products of 64 bits are slow in vectors
        wb += step_b
        wc += step_c


@njit(cache=True, nogil=True, error_model="numpy")
def _shown(
    mode: int, cut: float, wa: float, wb: float, wc: float, along_a: float, along_b: float, along_c: float
) -> bool:
    """Whether a sample with these weights lies on the side of the cut that is drawn."""
    place = (wa * along_a + wb * along_b + wc * along_c) / (wa + wb + wc)
    return (place < cut) == (mode == HIDE_LOWER)


@njit(cache=True, nogil=True, error_model="numpy")
def rasterise(
    screen: Int64[np.ndarray, "v 2"],
    inverse: Float64[np.ndarray, "v"],
    faces: Int32[np.ndarray, "f 3"],
    mode: UInt8[np.ndarray, "f"],
    along: Float64[np.ndarray, "v"],
    cut: Float64[np.ndarray, "f"],
    height: int,
    width: int,
) -> Int64[np.ndarray, "h w"]:
    """Find the nearest face at the centre of each sample; faces seen from behind are not drawn.

    Args:
        screen: positions in 1/256 of a sample.
        inverse: 1 / depth; 0 drops every face of that vertex.
        faces: counter-clockwise seen from outside.
        mode: DRAW, SKIP, or HIDE_UPPER / HIDE_LOWER: not drawn where `along` is below / not below the face's cut.
        along: interpolated in space for the two hiding modes.
        cut: of each face.
        height: samples.
        width: samples.

    Returns:
        The `samples`. Of equally near faces the first wins.
    """
    packed = np.full(height * width + _LANES, NOTHING, np.int64)
    for face in range(faces.shape[0]):
        if mode[face] == SKIP:
            continue
        # y points down: two corners swapped, so that inside is positive
        a, b, c = np.uint64(faces[face, 0]), np.uint64(faces[face, 2]), np.uint64(faces[face, 1])
        ia, ib, ic = inverse[a], inverse[b], inverse[c]
        if ia == 0.0 or ib == 0.0 or ic == 0.0:
            continue
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area <= 0:
            continue
        half = SUBPIXEL // 2
        left = max((min(ax, bx, cx) + half - 1) >> 8, 0)
        right = min((max(ax, bx, cx) - half) >> 8, width - 1)
        top = max((min(ay, by, cy) + half - 1) >> 8, 0)
        bottom = min((max(ay, by, cy) - half) >> 8, height - 1)
        if left > right or top > bottom:
            continue
        px, py = left * SUBPIXEL + half, top * SUBPIXEL + half
        row_a = (cx - bx) * (py - by) - (cy - by) * (px - bx)
        row_b = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
        row_c = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
        row_a += _bias(cx - bx, cy - by)
        row_b += _bias(ax - cx, ay - cy)
        row_c += _bias(bx - ax, by - ay)
        step_ax, step_bx, step_cx = -(cy - by) * SUBPIXEL, -(ay - cy) * SUBPIXEL, -(by - ay) * SUBPIXEL
        step_ay, step_by, step_cy = (cx - bx) * SUBPIXEL, (ax - cx) * SUBPIXEL, (bx - ax) * SUBPIXEL
        near_x = (step_ax * ia + step_bx * ib + step_cx * ic) / area
        near_y = (step_ay * ia + step_by * ib + step_cy * ic) / area
        corner = ia + ((px - ax) * near_x + (py - ay) * near_y) / SUBPIXEL
        wide = right - left + 1
        for row in range(top, bottom + 1):
            base = corner + (row - top) * near_y
            start = row * width + left
            if mode[face] == DRAW:
                steps = step_ax, step_bx, step_cx
                _draw_row(packed, start, wide, face, (row_a, row_b, row_c), steps, base, near_x)
            else:
                for column in range(wide):
                    wa, wb, wc = row_a + column * step_ax, row_b + column * step_bx, row_c + column * step_cx
                    weights = wa * ia, wb * ib, wc * ic
                    if (wa | wb | wc) >= 0 and _shown(
                        mode[face], cut[face], *weights, float(along[a]), float(along[b]), float(along[c])
                    ):
                        packed[start + column] = max(packed[start + column], pack(base + column * near_x, face))
            row_a += step_ay
            row_b += step_by
            row_c += step_cy
    return packed[: height * width].reshape(height, width)
