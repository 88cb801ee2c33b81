"""The empty picture of a place: one ray a pixel against floor, walls, ceiling and boxes.

What: numba kernels that fill a linear picture. Why: backgrounds with true perspective cost a tenth of a second a
camera and need no image data. Source: slab test, Kay and Kajiya 1986; value noise on a lattice, Perlin 1985; the
lattice's hash is splitmix64's mixer. Trade-off: one ray a pixel leaves steps on edges, which every camera's optics
then blur.
"""

import numpy as np
from numba import njit

__all__ = ["cast"]

FAR = np.float32(1e9)


@njit(cache=True, nogil=True)
def cast(
    origin: np.ndarray,
    axes: np.ndarray,
    focal: np.float32,
    room: np.ndarray,
    surfaces: np.ndarray,
    boxes: np.ndarray,
    light: np.ndarray,
    ambient: np.float32,
    texture: int,
    picture: np.ndarray,
) -> None:
    """Fill `picture` with what the camera sees.

    Args:
        origin: (3,) the camera's centre in the room's axes, metres.
        axes: (3, 3) rows right, down, forward.
        focal: pixels; the principal point is the picture's centre.
        room: (3,) walls at +-x, +-z, and their height.
        surfaces: (3, 10) floor, wall, ceiling: colour, second colour, tile sizes, noise, share of the first colour.
        boxes: (n, 9) centre x, z, half sizes, colour, elevation.
        light: (3,) towards the lamp.
        ambient: share of light from everywhere.
        texture: names the noise.
        picture: (h, w, 3) float32, linear, written.
    """
    height, width = picture.shape[0], picture.shape[1]
    ray = np.empty(3, np.float32)
    hit = np.empty(4, np.float32)  # distance, normal
    for y in range(height):
        for x in range(width):
            right = (np.float32(x) + np.float32(0.5 - 0.5 * width)) / focal
            down = (np.float32(y) + np.float32(0.5 - 0.5 * height)) / focal
            for axis in range(3):
                ray[axis] = right * axes[0, axis] + down * axes[1, axis] + axes[2, axis]
            _shade(origin, ray, room, surfaces, boxes, light, ambient, texture, hit, picture[y, x])


@njit(cache=True, nogil=True)
def _shade(
    origin: np.ndarray,
    ray: np.ndarray,
    room: np.ndarray,
    surfaces: np.ndarray,
    boxes: np.ndarray,
    light: np.ndarray,
    ambient: np.float32,
    texture: int,
    hit: np.ndarray,
    out: np.ndarray,
) -> None:
    box = _nearest_box(origin, ray, boxes, hit)
    surface = _nearest_surface(origin, ray, room, hit)
    if surface >= 0:
        box = -1
    distance = hit[0]
    lambert = max(np.float32(0), hit[1] * light[0] + hit[2] * light[1] + hit[3] * light[2])
    lit = ambient + (np.float32(1) - ambient) * lambert
    px, py, pz = origin[0] + distance * ray[0], origin[1] + distance * ray[1], origin[2] + distance * ray[2]
    u = pz if abs(hit[1]) > np.float32(0.5) else px
    v = pz if abs(hit[2]) > np.float32(0.5) and abs(hit[1]) < np.float32(0.5) else py
    if abs(hit[2]) > np.float32(0.5):
        u, v = px, pz
    grain = _noise(u * np.float32(1.7), v * np.float32(1.7), texture)
    grain += np.float32(0.5) * _noise(u * np.float32(7), v * np.float32(7), texture + 1)
    if box >= 0:
        lit *= np.float32(0.85) + np.float32(0.2) * grain
        for channel in range(3):
            out[channel] = lit * boxes[box, 5 + channel]
        return
    row = surfaces[surface]
    second = _is_second(u, v, row, texture + 2 + surface)
    lit *= np.float32(1) + row[8] * (grain - np.float32(0.75))
    if surface == 1:
        lit *= np.float32(0.75) + np.float32(0.25) * min(np.float32(1), py / np.float32(2))
    for channel in range(3):
        out[channel] = lit * (row[3 + channel] if second else row[channel])


@njit(cache=True, nogil=True)
def _nearest_box(origin: np.ndarray, ray: np.ndarray, boxes: np.ndarray, hit: np.ndarray) -> int:
    """Write distance and normal of the nearest box into `hit`; return its row, or -1."""
    hit[0] = FAR
    found = -1
    for row in range(boxes.shape[0]):
        entry, leaving, axis = np.float32(0), FAR, 0
        for a in range(3):
            middle = boxes[row, 0] if a == 0 else (boxes[row, 8] + boxes[row, 3] if a == 1 else boxes[row, 1])
            half = boxes[row, 2 + a]
            speed = ray[a] if abs(ray[a]) > np.float32(1e-9) else np.float32(1e-9)
            first = (middle - half - origin[a]) / speed
            last = (middle + half - origin[a]) / speed
            if first > last:
                first, last = last, first
            if first > entry:
                entry, axis = first, a
            leaving = min(leaving, last)
        if np.float32(0) < entry < leaving and entry < hit[0]:
            hit[:] = 0
            hit[0] = entry
            hit[1 + axis] = np.float32(-1) if ray[axis] > 0 else np.float32(1)
            found = row
    return found


@njit(cache=True, nogil=True)
def _nearest_surface(origin: np.ndarray, ray: np.ndarray, room: np.ndarray, hit: np.ndarray) -> int:
    """Replace `hit` when floor (0), wall (1) or ceiling (2) is nearer; return which, or -1."""
    found = -1
    for axis in (0, 2):
        limit = room[0] if axis == 0 else room[1]
        speed = ray[axis] if abs(ray[axis]) > np.float32(1e-9) else np.float32(1e-9)
        distance = ((limit if speed > 0 else -limit) - origin[axis]) / speed
        if np.float32(0) < distance < hit[0]:
            hit[:] = 0
            hit[0] = distance
            hit[1 + axis] = np.float32(-1) if speed > 0 else np.float32(1)
            found = 1
    speed = ray[1] if abs(ray[1]) > np.float32(1e-9) else np.float32(1e-9)
    distance = ((room[2] if speed > 0 else np.float32(0)) - origin[1]) / speed
    if np.float32(0) < distance < hit[0]:
        hit[:] = 0
        hit[0] = distance
        hit[2] = np.float32(-1) if speed > 0 else np.float32(1)
        found = 2 if speed > 0 else 0
    return found


@njit(cache=True, nogil=True)
def _is_second(u: float, v: float, row: np.ndarray, texture: int) -> bool:
    """Tell whether a point lies in a joint between tiles, or in a tile of the second colour."""
    column, line = np.floor(u / row[6]), np.floor(v / row[7])
    along, across = u / row[6] - column, v / row[7] - line
    if along < np.float32(0.06) or across < np.float32(0.06):
        return True
    return _lattice(int(column), int(line), texture) > row[9]


@njit(cache=True, nogil=True)
def _noise(u: float, v: float, texture: int) -> float:
    """Smooth noise in [0, 1) with one lattice point a unit."""
    column, line = np.floor(u), np.floor(v)
    a, b = u - column, v - line
    a, b = a * a * (np.float32(3) - np.float32(2) * a), b * b * (np.float32(3) - np.float32(2) * b)
    i, j = int(column), int(line)
    top = _lattice(i, j, texture) * (np.float32(1) - a) + _lattice(i + 1, j, texture) * a
    bottom = _lattice(i, j + 1, texture) * (np.float32(1) - a) + _lattice(i + 1, j + 1, texture) * a
    return top * (np.float32(1) - b) + bottom * b


@njit(cache=True, nogil=True)
def _lattice(column: int, line: int, texture: int) -> np.float32:
    """Hash a lattice point to [0, 1)."""
    state = np.uint64(np.int64(column)) * np.uint64(0x9E3779B97F4A7C15)
    state += np.uint64(np.int64(line)) * np.uint64(0xC2B2AE3D27D4EB4F)
    state += np.uint64(texture) * np.uint64(0xD6E8FEB86659FD93)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float32((state >> np.uint64(40)) & np.uint64(0xFFFFFF)) * np.float32(1 / 16777216)
