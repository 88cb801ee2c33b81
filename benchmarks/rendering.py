"""Our renderer against the usual pyrender code, on the same bodies in the same run.

Ours: one `render` call with an outfit, lights and a cropped camera, and all labels (mask, parts, depth, normals and the 17
key points with visibility). Reference: what most code that renders SMPL bodies does, a new `Mesh.from_trimesh` a frame,
one light, one `OffscreenRenderer`, colour and depth. Both at 256 x 128, both given the posed vertices. Rounds of the two
alternate, so load on the machine hits both. The silhouettes of the two are compared first: both draw the same body.

Run: `python benchmarks/rendering.py [--rounds 7] [--frames 12]`. Exit status 2 where there is no EGL.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

import numpy as np

from resight.rendering.appearance import WHOLE, Appearance, Wear, bare, dress, material
from resight.rendering.body import Body
from resight.rendering.camera import Camera, look_at
from resight.rendering.capsule import capsule_body
from resight.rendering.labels import keypoints
from resight.rendering.poses import walking
from resight.rendering.shading import Frame, Lights, render
from resight.rendering.skinning import rest_vertices, skin_one

HEIGHT, WIDTH = 256, 128
CURE = "no EGL here: apt-get install libegl1 libgl1-mesa-dri, and pip install 'resight[pyrender]'"


def outfit() -> Appearance:
    skin = material("plain", (0.47, 0.27, 0.19), roughness=0.8)
    shirt = material("stripes", (0.6, 0.6, 0.6), second=(0.05, 0.05, 0.3), scale=16.0, mottle=0.2)
    trousers = material("plain", (0.05, 0.07, 0.2), mottle=0.3)
    wear = bare()
    wear["torso"], wear["hips"] = Wear(upper=shirt, inflation=0.015), Wear(upper=trousers, inflation=0.012)
    for side in ("left", "right"):
        for part in ("upper_arm", "forearm", "hand"):
            wear[f"{side}_{part}"] = Wear(upper=shirt, lower=skin, cut=0.25, inflation=0.012, flare=0.01)
        for part in ("thigh", "shin"):
            wear[f"{side}_{part}"] = Wear(upper=trousers, inflation=0.012, flare=0.02)
        wear[f"{side}_foot"] = Wear(upper=material("plain", (0.5, 0.5, 0.5)), inflation=0.008)
    return dress(wear)


def naked() -> Appearance:
    """Every face drawn, nothing inflated: the mesh as pyrender sees it."""
    wear = bare()
    return dress({**wear, "hair": Wear(upper=wear["hair"].upper, cut=WHOLE)})


class Scene:
    """The bodies and cameras of all frames, made before the clock starts."""

    def __init__(self, body: Body, frames: int) -> None:
        rng = np.random.default_rng(0)
        self.body = body
        self.poses: list[tuple[np.ndarray, np.ndarray, np.ndarray, Camera]] = []
        for frame in range(frames):
            betas = rng.standard_normal(10)
            vertices, joints = skin_one(body, betas, walking(frame / frames), np.zeros(3))
            angle = rng.uniform(0, 2 * np.pi)
            eye = (5 * float(np.sin(angle)), 1.2, 5 * float(np.cos(angle)))
            camera = look_at(eye, (0.0, 0.0, 0.0), focal=600.0, height=HEIGHT, width=WIDTH)
            camera = camera.framing(vertices, height=HEIGHT, width=WIDTH)
            self.poses.append((vertices, rest_vertices(body, betas), joints, camera))


def ours(scene: Scene, worn: Appearance, *, labels: bool) -> list[Frame]:
    frames = []
    for vertices, rest, joints, camera in scene.poses:
        frame = render(vertices, rest, scene.body, worn, camera, Lights())
        if labels:
            keypoints(camera, joints, vertices, scene.body, depth=frame.depth, part=frame.part)
        frames.append(frame)
    return frames


def reference(scene: Scene) -> Callable[..., list[np.ndarray]]:
    """Return a function that draws all frames with pyrender and returns their images; with alpha on request."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    np.infty = np.inf  # type: ignore[attr-defined]  # pyrender 0.1.45 asks numpy for it
    import pyrender
    import trimesh

    renderer = pyrender.OffscreenRenderer(WIDTH, HEIGHT)

    def draw(*, alpha: bool = False) -> list[np.ndarray]:
        images: list[np.ndarray] = []
        for vertices, _, _, camera in scene.poses:
            view = pyrender.Scene(ambient_light=(0.3, 0.3, 0.3), bg_color=(0.0, 0.0, 0.0, 0.0))
            mesh = trimesh.Trimesh(vertices, scene.body.f, process=False)
            view.add(pyrender.Mesh.from_trimesh(mesh))
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = camera.rotation.T * (1.0, -1.0, -1.0), camera.position
            view.add(pyrender.IntrinsicsCamera(*camera.focal, *camera.principal), pose=pose)
            view.add(pyrender.DirectionalLight(intensity=3.0), pose=pose)
            colour, _ = renderer.render(view, flags=pyrender.RenderFlags.RGBA if alpha else pyrender.RenderFlags.NONE)
            images.append(colour)
        return images

    return draw


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    scene, worn = Scene(capsule_body(), options.frames), outfit()
    try:
        draw = reference(scene)
        images = draw(alpha=True)
    except Exception as error:  # noqa: BLE001  # PyOpenGL raises whatever its platform module happens to meet
        print(f"{CURE}\n  ({type(error).__name__}: {error})")
        return 2
    drawn = ours(scene, naked(), labels=False)
    overlaps = [overlap(frame.mask > 0, image[..., 3] > 127) for frame, image in zip(drawn, images, strict=True)]
    ours(scene, worn, labels=True)
    times: dict[str, list[float]] = {"render": [], "labels": [], "pyrender": []}
    for _ in range(options.rounds):
        times["render"].append(seconds(lambda: ours(scene, worn, labels=False)) / options.frames)
        times["pyrender"].append(seconds(draw) / options.frames)
        times["labels"].append(seconds(lambda: ours(scene, worn, labels=True)) / options.frames)
    report(times, overlaps, len(scene.body.f))
    return 0


def report(times: dict[str, list[float]], overlaps: list[float], faces: int) -> None:
    print(f"{HEIGHT} x {WIDTH} pixels, {faces} faces, {len(times['render'])} rounds of {len(overlaps)} frames, images/s:")
    names = {
        "pyrender": "pyrender, from_trimesh a frame, colour + depth",
        "render": "ours, outfit, 2 x 2 samples, colour + mask + part + depth + normal",
        "labels": "ours, the same and 17 key points with visibility",
    }
    for key, name in names.items():
        rate = 1 / np.array(times[key])
        print(f"  {name:68s} {np.median(rate):8.1f}  ({rate.min():.1f} to {rate.max():.1f})")
    for key in ("render", "labels"):
        ratio = np.array(times["pyrender"]) / np.array(times[key])
        print(f"  ratio {key:62s} {np.median(ratio):8.1f}  ({ratio.min():.1f} to {ratio.max():.1f})")
    print(f"  silhouette IoU: mean {np.mean(overlaps):.4f}, least {np.min(overlaps):.4f}")


if __name__ == "__main__":
    sys.exit(main())
