"""The work of one shard: from its specification to a tar of images with labels.

What: `RenderWork` is what a pool calls, in this process or in a Ray actor; a unit names a range of identities of one
part of one split. Why: the bytes of a shard must depend on its specification and on the code that makes them and on
nothing else; the fingerprint names that code. Source: JPEG at quality 90 with chroma halved, as most re-
identification sets store it. Trade-off: masks and part maps are PNG, exact, at a third of the size of the image
itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8

from resight.cluster.errors import UserError
from resight.cluster.units import Made, Unit
from resight.datasets.records import Annotations, Record, Sample
from resight.datasets.shards import SHARD_FORMAT, shard_files
from resight.rendering.bodies import DEFAULT_BODY, body_sha256, find_body
from resight.rendering.body import Body
from resight.rendering.draws import VERSION
from resight.rendering.layers import hidden_share
from resight.rendering.measure import measurements, shape_words
from resight.rendering.picture import Picture, picture, who_is_it
from resight.rendering.renderers import Draw, RendererName, find_renderer, renderer_fingerprint
from resight.rendering.shading import render
from resight.rendering.splits import part_of
from resight.rendering.world import ImageSpec, find_world, images

__all__ = ["RENDERER", "RenderWork", "sample", "versions"]

RENDERER: Final = "render-2"
"""Version of the code between a specification and its bytes; raised with every change of a pixel or a label."""

JPEG_QUALITY: Final = 90

_PNG: Final = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
"""Masks are runs of equal bytes: stored as they are, smaller and faster than with differences of neighbours."""

_LIBRARIES: Final = ("numba", "numpy", "opencv-python-headless", "simplejpeg")


@dataclass(frozen=True, kw_only=True)
class RenderWork:
    """Makes shards of the world.

    Attributes:
        renderer: that draws.
        body: name or path of a body (`bodies.find_body`).
    """

    renderer: RendererName = "numba"
    body: str = DEFAULT_BODY

    @property
    def fingerprint(self) -> str:
        """The versions of all code that has a say in the bytes; body and renderer stand in each unit (`made_with`)."""
        parts = [f"{name}-{number}" for name, number in versions().items()]
        return "/".join([RENDERER, f"world-{VERSION}", SHARD_FORMAT, *parts])

    @property
    def made_with(self) -> dict[str, str]:
        """What belongs into the specification of every unit: the renderer with its versions and device, and the body.

        Raises:
            UserError: for a renderer that is not here, or a file that is no body.
        """
        return {"renderer": renderer_fingerprint(self.renderer), "body": body_sha256(_with_face(self.body))}

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        """Render the unit's identities in order and write their shard into `scratch`.

        Raises:
            UserError: where this machine would draw with something else than the unit says.
        """
        for name, here in self.made_with.items():
            if (asked := unit.spec.get(name, here)) != here:
                problem = f"shard {unit.name} is to be made with {name} {asked!r}, but here it would be {here!r}"
                cure = "give all machines the same libraries, drivers and body file, or use --renderer numba"
                raise UserError(problem, where=f"--{name}", cure=cure)
        files, rows, read_back = shard_files(self._samples(unit.spec), scratch, shard=unit.name)
        return Made(files=files, facts={"images": rows.num_rows}, read_back=read_back)

    def _samples(self, spec: Any) -> Iterator[Sample]:
        world, body, draw = find_world(spec["world"]), find_body(self.body), find_renderer(self.renderer)
        people = range(spec["first"], spec["last"])
        specs = [image for pid in people for image in images(world, spec["split"], spec["group"], pid)]
        if not specs[0].staging.labelled:
            specs.sort(key=lambda image: image.key)  # their order must not tell what their keys do not
        for image in specs:
            yield sample(body, spec["seed"], image, dataset=spec["split"], group=spec["group"], draw=draw)


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that have a say in the bytes."""
    return {name: version(name) for name in _LIBRARIES}


def _with_face(name: str) -> Body:
    """Return a body of which the key points of the face are known."""
    body = find_body(name)
    if not body.vertex_ids:
        cure = "make the file with `resight body convert`, which finds the 21 named vertices"
        raise UserError("nobody knows where the nose of this body is", where=name, cure=cure)
    return body


def sample(body: Body, seed: int, spec: ImageSpec, *, dataset: str, group: Any, draw: Draw = render) -> Sample:
    """Render one image and encode it with everything known about it, or with what anybody could see.

    Args:
        body: that is posed.
        seed: the world's.
        spec: the image.
        dataset: the data set's name.
        group: of the identity (`splits.Group`).
        draw: the renderer.
    """
    taken = picture(body, seed, spec, draw)
    jpeg = simplejpeg.encode_jpeg(
        taken.image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    common = Record(
        key=spec.key,
        pid=-1,
        camid=spec.camera,
        dataset=dataset,
        split=part_of(group),
        role="distractor" if group == "distractor" else "person",
        origin=f"world {VERSION}, seed {seed}",
    )
    if not spec.staging.labelled:
        return Sample(record=common, image=jpeg, annotations=_visible(spec, taken))
    record = replace(
        common,
        pid=spec.pid,
        viewid=taken.viewid,
        outfit=spec.pid * 10 + spec.outfit,
        tracklet=(spec.pid * 10 + spec.outfit) * 100 + spec.camera,
        frame=spec.frame,
    )
    return Sample(record=record, image=jpeg, annotations=_annotations(body, seed, spec, taken))


def _visible(spec: ImageSpec, taken: Picture) -> Annotations:
    """Return what can be read off the picture; the whole person's mask only where things may hide it."""
    hides = spec.staging.occluded > 0 or spec.staging.activities != ("moving",)
    return Annotations(
        keypoints=taken.keypoints,
        mask=_png(taken.mask),
        parts=_png(taken.parts),
        amodal=_png(taken.amodal) if hides else None,
        hidden=round(hidden_share(taken.amodal, taken.mask), 4) if hides else None,
    )


def _annotations(body: Body, seed: int, spec: ImageSpec, taken: Picture) -> Annotations:
    betas = who_is_it(seed, spec).betas
    measured, words = _measured(body, betas.tobytes())
    return replace(_visible(spec, taken), betas=betas, pose=taken.pose, words=words, measurements=measured)


@lru_cache(maxsize=1024)
def _measured(body: Body, betas: bytes) -> tuple[dict[str, float], tuple[str, ...]]:
    found = measurements(body, np.frombuffer(betas, np.float32))
    measured = {name: round(value, 4) for name, value in found.items()}
    return measured, shape_words(measured, body.word_scale)


def _png(plane: UInt8[np.ndarray, "h w"]) -> bytes:
    return cv2.imencode(".png", plane, _PNG)[1].tobytes()
