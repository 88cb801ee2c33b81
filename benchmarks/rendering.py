"""Our renderer against the usual pyrender code, on the same bodies in the same run.

Ours: one `render` call with an outfit, lights and a cropped camera, and all labels (mask, parts, depth, normals and
the 17 key points with visibility), at 2 x 2 samples a pixel and at one. Reference: what most code that renders SMPL
bodies does, a new `Trimesh` and `Mesh.from_trimesh` a frame, one light, one `OffscreenRenderer`, colour and depth; and
the same without trimesh's clean-up of the mesh, which most code forgets to turn off. Both at 256 x 128, both given the
posed vertices. Rounds alternate. The silhouettes are compared first: both draw the same body. Ours runs on one core,
software GL on as many as it likes; on a busy machine that is no contest of equals, so processor time is reported
beside the clock's.

Run: `python benchmarks/rendering.py [--rounds 7] [--frames 12]`. Exit status 2 where there is no EGL.
"""

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

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


def ours(scene: Scene, worn: Appearance, *, labels: bool = False, supersample: int = 2) -> Iterator[Frame]:
    for vertices, rest, joints, camera in scene.poses:
        frame = render(vertices, rest, scene.body, worn, camera, Lights(), supersample=supersample)
        if labels:
            keypoints(camera, joints, vertices, scene.body, depth=frame.depth, part=frame.part)
        yield frame


def reference(scene: Scene) -> Callable[..., Iterator[np.ndarray]]:
    """Return a function that draws all frames with pyrender and returns their images; with alpha on request."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    np.infty = np.inf  # type: ignore[attr-defined]  # noqa: NPY201  # pyrender 0.1.45 asks for it
    import pyrender
    import trimesh

    renderer = pyrender.OffscreenRenderer(WIDTH, HEIGHT)

    def draw(*, alpha: bool = False, process: bool = True) -> Iterator[np.ndarray]:
        for vertices, _, _, camera in scene.poses:
            view = pyrender.Scene(ambient_light=(0.3, 0.3, 0.3), bg_color=(0.0, 0.0, 0.0, 0.0))
            mesh = trimesh.Trimesh(vertices, scene.body.f, process=process)
            view.add(pyrender.Mesh.from_trimesh(mesh))
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = camera.rotation.T * (1.0, -1.0, -1.0), camera.position
            view.add(pyrender.IntrinsicsCamera(*camera.focal, *camera.principal), pose=pose)
            view.add(pyrender.DirectionalLight(intensity=3.0), pose=pose)
            result = renderer.render(view, flags=pyrender.RenderFlags.RGBA if alpha else pyrender.RenderFlags.NONE)
            assert result is not None
            yield result[0]

    return draw


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def seconds(work: Callable[[], Iterator[object]], frames: int) -> tuple[float, float]:
    """Return the clock's and all processors' seconds a frame."""
    clock, processor = time.perf_counter(), time.process_time()
    deque(work(), maxlen=0)
    return (time.perf_counter() - clock) / frames, (time.process_time() - processor) / frames


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    scene, worn = Scene(capsule_body(), options.frames), outfit()
    try:
        draw = reference(scene)
    except Exception as error:  # noqa: BLE001  # PyOpenGL raises whatever its platform module happens to meet
        print(f"{CURE}\n  ({type(error).__name__}: {error})")
        return 2
    images = list(draw(alpha=True))
    drawn = ours(scene, naked())
    overlaps = [overlap(frame.mask > 0, image[..., 3] > 127) for frame, image in zip(drawn, images, strict=True)]
    deque(ours(scene, worn, labels=True), maxlen=0)
    contestants: dict[str, Callable[[], Iterator[object]]] = {
        "usual": draw,
        "lean": lambda: draw(process=False),
        "render": lambda: ours(scene, worn),
        "single": lambda: ours(scene, worn, supersample=1),
        "labels": lambda: ours(scene, worn, labels=True),
    }
    times = {name: np.empty((options.rounds, 2)) for name in contestants}
    for number in range(options.rounds):
        for name, work in contestants.items():
            times[name][number] = seconds(work, options.frames)
    report(times, overlaps, len(scene.body.f))
    return 0


def report(times: dict[str, np.ndarray], overlaps: list[float], faces: int) -> None:
    rounds = len(times["render"])
    print(
        f"{HEIGHT} x {WIDTH} pixels, {faces} faces, {rounds} rounds of {len(overlaps)} frames; median (least to most)"
    )
    names = {
        "usual": "pyrender, as usually written",
        "lean": "pyrender, without trimesh's clean-up",
        "render": "ours, 2 x 2 samples",
        "single": "ours, one sample",
        "labels": "ours, 2 x 2 samples, and 17 key points with visibility",
    }
    for key, name in names.items():
        line(f"images/s: {name}", 1 / times[key][:, 0])
    for key in ("render", "single", "labels"):
        for other in ("usual", "lean"):
            for column, clock in enumerate(("clock", "processors")):
                ratio = times[other][:, column] / times[key][:, column]
                line(f"{names[key]}, against {other}, {clock}: times", ratio)
    print(f"  silhouette IoU: mean {np.mean(overlaps):.4f}, least {np.min(overlaps):.4f}")
    print(f"  load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def line(name: str, values: np.ndarray) -> None:
    print(f"  {name:92s} {np.median(values):8.1f}  ({values.min():.1f} to {values.max():.1f})")


if __name__ == "__main__":
    sys.exit(main())
