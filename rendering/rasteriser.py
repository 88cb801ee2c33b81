"""A z-buffer in numba: which face each sample of the image sees, and how far away it is.

Why: no GL, no context, no driver, and the same bytes on every machine. Screen positions are snapped to 1/256 of a
sample and edges tested in integers, so neighbouring faces neither overlap nor leave gaps (top-left rule), and float64
without fast-math does the rest.
Source: Pineda 1988 (edge functions); the top-left rule of Direct3D's rasterisation rules. Trade-off: one thread an
image (many images in parallel keep every core busy), and faces that cross the near plane are dropped, not clipped.
"""

from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8
from numba import njit

__all__ = ["DRAW", "HIDE_LOWER", "HIDE_UPPER", "SKIP", "SUBPIXEL", "project_vertices", "rasterise"]

SUBPIXEL: Final = 256
NEAR: Final = 0.05  # metres
DRAW, SKIP, HIDE_UPPER, HIDE_LOWER = 0, 1, 2, 3
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
def _limits(step: int, wide: float) -> tuple[float, float, float]:
    """Where an edge lets a row begin and end: weight * first value, weight * second + third, in columns from the left.

    A guess by floating point, without branches and never too narrow; samples between are still tested in integers.
    """
    if step == 0:
        return 0.0, 0.0, wide
    inverse = -1.0 / step
    return (inverse, 0.0, wide) if step > 0 else (0.0, inverse, 0.0)


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
) -> tuple[Int32[np.ndarray, "h w"], Float32[np.ndarray, "h w"], Int32[np.ndarray, "h 2"]]:
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
        Face number (-1 where there is none), inverse depth (0 where there is none), and for each row the columns
        [first, end) outside which there is nothing. Of equally near faces the first wins.
    """
    seen = np.full((height, width), -1, np.int32)
    nearest = np.zeros((height, width), np.float32)
    spans = np.zeros((height, 2), np.int32)
    spans[:, 0] = width
    flat_seen, flat_nearest = seen.ravel(), nearest.ravel()
    for face in range(faces.shape[0]):
        if mode[face] == SKIP:
            continue
        a, b, c = faces[face, 0], faces[face, 2], faces[face, 1]  # y points down: swapped, so that inside is positive
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
        hiding = mode[face] != DRAW
        wide = float(right - left)
        low_a, high_a, end_a = _limits(step_ax, wide)
        low_b, high_b, end_b = _limits(step_bx, wide)
        low_c, high_c, end_c = _limits(step_cx, wide)
        for row in range(top, bottom + 1):
            wa, wb, wc = row_a, row_b, row_c
            base = corner + (row - top) * near_y
            spans[row, 0], spans[row, 1] = min(spans[row, 0], left), max(spans[row, 1], right + 1)
            fa, fb, fc = float(wa), float(wb), float(wc)
            first = int(max(max(fa * low_a, fb * low_b), max(fc * low_c, 0.0)))
            last = int(min(min(fa * high_a + end_a, fb * high_b + end_b), min(fc * high_c + end_c, wide)) + 1e-6)
            wa, wb, wc = wa + first * step_ax, wb + first * step_bx, wc + first * step_cx
            sample = np.uint64(row * width + left + first)  # unsigned: no look out for negative indices
            for column in range(left + first, left + last + 1):
                if (wa | wb | wc) >= 0:
                    near = np.float32(base + (column - left) * near_x)
                    weights = wa * ia, wb * ib, wc * ic
                    if near > flat_nearest[sample] and (
                        not hiding
                        or _shown(mode[face], cut[face], *weights, float(along[a]), float(along[b]), float(along[c]))
                    ):
                        flat_nearest[sample] = near
                        flat_seen[sample] = face
                sample += np.uint64(1)
                wa += step_ax
                wb += step_bx
                wc += step_cx
            row_a += step_ay
            row_b += step_by
            row_c += step_cy
    return seen, nearest, spans
