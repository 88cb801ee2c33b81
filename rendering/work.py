"""The work of one shard: from its specification to a tar of images with labels.

What: `RenderWork` is what a pool calls, in this process or in a Ray actor; a unit names a range of identities of one
part of one split. Why: the bytes of a shard must depend on its specification and on the code that makes them and on
nothing else; the fingerprint names that code. Source: JPEG at quality 90 with chroma halved, as most re-
identification sets store it. Trade-off: masks and part maps are PNG, exact, at a third of the size of the image
itself.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8

from resight.cluster.units import Made, Unit
from resight.datasets.records import Annotations, Record, Sample
from resight.datasets.shards import SHARD_FORMAT, shard_files
from resight.rendering.body import Body
from resight.rendering.capsule import capsule_body
from resight.rendering.draws import VERSION
from resight.rendering.measure import measurements, shape_words
from resight.rendering.people import person
from resight.rendering.picture import Picture, picture
from resight.rendering.world import ImageSpec, find_world, images

__all__ = ["RENDERER", "RenderWork", "body_sha256", "sample", "versions"]

RENDERER: Final = "render-1"
"""Version of the code between a specification and its bytes; raised with every change of a pixel or a label."""

JPEG_QUALITY: Final = 90

_LIBRARIES: Final = ("numba", "numpy", "opencv-python-headless", "simplejpeg")


@dataclass(frozen=True, kw_only=True)
class RenderWork:
    """Makes shards of the world."""

    @property
    def fingerprint(self) -> str:
        """The versions of all code and data that have a say in the bytes."""
        parts = [f"{name}-{number}" for name, number in versions().items()]
        return "/".join([RENDERER, f"world-{VERSION}", SHARD_FORMAT, *parts, f"body-{body_sha256()[:16]}"])

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        """Render the unit's identities in order and write their shard into `scratch`."""
        files, rows = shard_files(_samples(unit.spec), scratch, shard=unit.name)
        return Made(files=files, facts={"images": rows.num_rows})


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that have a say in the bytes."""
    return {name: version(name) for name in _LIBRARIES}


@cache
def body_sha256() -> str:
    """Return a hash over the arrays of the body that is rendered."""
    body, digest = capsule_body(), hashlib.sha256()
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "face_part", "along"):
        digest.update(np.ascontiguousarray(getattr(body, name)).tobytes())
    return digest.hexdigest()


def _samples(spec: Any) -> Iterator[Sample]:
    world, body = find_world(spec["world"]), capsule_body()
    for pid in range(spec["first"], spec["last"]):
        for image in images(world, spec["split"], spec["part"], pid):
            yield sample(body, spec["seed"], image, dataset=spec["split"], part=spec["part"])


def sample(body: Body, seed: int, spec: ImageSpec, *, dataset: str, part: Any) -> Sample:
    """Render one image and encode it with everything known about it.

    Args:
        body: that is posed.
        seed: the world's.
        spec: the image.
        dataset: the data set's name.
        part: train, val, query or gallery.
    """
    taken = picture(body, seed, spec)
    jpeg = simplejpeg.encode_jpeg(
        taken.image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    record = Record(
        key=spec.key,
        pid=spec.pid,
        camid=spec.camera,
        dataset=dataset,
        split=part,
        viewid=taken.viewid,
        outfit=spec.pid * 10 + spec.outfit,
        tracklet=(spec.pid * 10 + spec.outfit) * 100 + spec.camera,
        frame=spec.frame,
        origin=f"world {VERSION}, seed {seed}",
    )
    return Sample(record=record, image=jpeg, annotations=_annotations(body, seed, spec, taken))


def _annotations(body: Body, seed: int, spec: ImageSpec, taken: Picture) -> Annotations:
    measured, words = _measured(body, seed, spec.pid)
    return Annotations(
        keypoints=taken.keypoints,
        mask=_png(taken.mask),
        parts=_png(taken.parts),
        betas=person(seed, spec.pid).betas,
        pose=taken.pose,
        words=words,
        measurements=measured,
    )


@lru_cache(maxsize=1024)
def _measured(body: Body, seed: int, pid: int) -> tuple[dict[str, float], tuple[str, ...]]:
    measured = {name: round(value, 4) for name, value in measurements(body, person(seed, pid).betas).items()}
    return measured, shape_words(measured)


def _png(plane: UInt8[np.ndarray, "h w"]) -> bytes:
    return cv2.imencode(".png", plane, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()
