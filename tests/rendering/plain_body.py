"""Draw a small picture of a dressed, posed body and save it: once compiled, once as plain Python.

A program and not a test: `NUMBA_DISABLE_JIT` is read when numba is imported.
"""

import sys

import numpy as np

from resight.rendering.appearance import Wear, bare, dress, material
from resight.rendering.camera import look_at
from resight.rendering.capsule import capsule_body
from resight.rendering.labels import keypoints
from resight.rendering.poses import walking
from resight.rendering.shading import Lights, render
from resight.rendering.skinning import rest_vertices, skin_one


def main(path: str) -> None:
    """Save every map of one frame to `path`."""
    body = capsule_body()
    betas = np.linspace(-1, 1, 10)
    vertices, joints = skin_one(body, betas, walking(0.1, heading=0.4), np.array([0.0, 0.93, 0.0]))
    wear = bare(hair_length=0.6)
    skin = wear["neck"].upper
    kinds = ("stripes", "checks", "dots", "noise", "plaid")
    cloth = [material(kind, (0.5, 0.1, 0.1), second=(0.1, 0.1, 0.6), scale=9.0, angle=0.3, seed=3) for kind in kinds]
    logo = material("logo", (0.1, 0.4, 0.1), second=(0.9, 0.9, 0.9), scale=20.0, seed=5, roughness=0.3, mottle=0.3)
    wear["torso"] = Wear(upper=logo, lower=cloth[0], cut=0.7, inflation=0.02, lower_inflation=0.01)
    wear["hips"] = Wear(upper=cloth[1], inflation=0.012)
    for side in ("left", "right"):
        wear[f"{side}_upper_arm"] = Wear(upper=cloth[2], lower=skin, cut=0.3, inflation=0.015, flare=0.01)
        wear[f"{side}_thigh"] = Wear(upper=cloth[3], inflation=0.01)
        wear[f"{side}_shin"] = Wear(upper=cloth[4], lower=skin, cut=0.9)
    camera = look_at((0.6, 1.5, 4.0), (0.0, 0.9, 0.0), focal=60.0, height=48, width=24)
    frame = render(vertices, rest_vertices(body, betas), body, dress(wear), camera, Lights())
    points = keypoints(camera, joints, vertices, body, depth=frame.depth, part=frame.part)
    np.savez(path, vertices=vertices, points=points, **vars(frame))


if __name__ == "__main__":
    main(sys.argv[1])
