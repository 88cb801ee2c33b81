"""Run the world's kernels on tiny inputs and save what they give: once compiled, once as plain Python.

A program and not a test: `NUMBA_DISABLE_JIT` is read when numba is imported.
"""

import sys

import numpy as np

from resight.rendering.crops import Box, compose
from resight.rendering.raycast import cast
from resight.rendering.scenes import scene
from resight.rendering.styles import develop, style


def main(path: str) -> None:
    """Save picture, crop and developed crop to `path`."""
    place = scene(0, 2)
    picture = np.empty((12, 16, 3), np.float32)
    view = (place.position.astype(np.float32), place.axes.astype(np.float32), np.float32(12.0))
    solids = (place.room, place.surfaces, place.boxes)
    cast(*view, *solids, place.light, np.float32(place.ambient), place.texture, picture)
    rgb, alpha = np.zeros((10, 5, 3), np.float32), np.eye(10, 5, dtype=np.float32)
    feet = np.array([[0.2, 0.0, 0.5], [0.0, 0.0, 0.7]])
    crop = compose(picture, Box(left=2.0, top=1.0, scale=0.8), place, feet, rgb, alpha)
    stored = develop(crop, style(0, 2), gain=1.1, noise_key=7)
    np.savez(path, picture=picture, crop=crop, stored=stored)


if __name__ == "__main__":
    main(sys.argv[1])
