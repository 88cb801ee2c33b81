"""What one person crop is: the record that a reader or renderer hands over, and the columns of the index.

A *sample* is one crop with its encoded bytes; a *record* is everything known about it that is not pixels. `pid` -1
means unlabelled or junk; `pid` 0 is a distractor in Market-1501's sense only when the reader says so through `role`.
Source: design of this project; field names after Zheng et al. 2015 (Market-1501) and Qian et al. 2020 (LTCC, outfits).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

__all__ = [
    "INDEX_SCHEMA",
    "KEYPOINTS",
    "MEMBERS",
    "SCHEMA_VERSION",
    "Annotations",
    "Record",
    "Role",
    "Sample",
    "Split",
    "Table",
]

SCHEMA_VERSION: Final = 1
"""Version of the data set's layout on disk; a reader refuses a newer one."""

Split = Literal["train", "val", "query", "gallery"]
Role = Literal["person", "distractor", "junk"]

Table: TypeAlias = Any
"""A `pyarrow.Table` of index rows; pyarrow has no types of its own."""

MEMBERS: Final = ("image", "mask", "parts")
"""The members of a sample that the index locates by offset and size, beside its JSON."""

KEYPOINTS: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""COCO's 17 key points, in COCO's order; left and right are the person's own."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one crop.

    Attributes:
        key: unique in its data set, stable, `[A-Za-z0-9_-]+`, at most 90 characters (a tar member's stem: the plain tar
            format has room for 100, and WebDataset splits names at the first dot).
        pid: identity, >= 0; -1 when unknown.
        camid: camera, >= 0; -1 when unknown.
        viewid: viewpoint, -1 when unknown.
        outfit: clothes of the identity, unique over the data set, -1 when unknown.
        tracklet: track, -1 when unknown.
        frame: position in time, -1 when unknown.
        dataset: the data set's name.
        split: train, val, query or gallery.
        role: person; distractor (a wrong answer in the gallery, never trained); junk (never ranked, never trained).
        origin: path of the source file relative to its root, or how the crop was made.
    """

    key: str
    pid: int
    camid: int
    dataset: str
    split: Split
    viewid: int = -1
    outfit: int = -1
    tracklet: int = -1
    frame: int = -1
    role: Role = "person"
    origin: str = ""

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> "Record":
        """Return the record with these fields: all of them, by name, unchecked, in a third of the usual time."""
        record = object.__new__(cls)
        vars(record).update(known)
        return record


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What may be known beside the identity. Pixel coordinates are those of the stored image.

    Attributes:
        keypoints: (17, 3) float32: x, y in pixels (pixel centres at +0.5), visibility 0 absent, 1 hidden, 2 seen.
        mask: PNG bytes, one channel, 255 where the person is visible.
        parts: PNG bytes, one channel, body part of each visible pixel, 0 elsewhere.
        amodal: PNG bytes, one channel, 255 where the person is, visible or hidden by something.
        hidden: share of the person that something hides, 0 to 1.
        betas: (10,) float32 shape coefficients in standard deviations.
        pose: (24, 3) float32 axis-angle rotations in radians.
        words: shape descriptors such as "broad shoulders".
        measurements: lengths in metres by name.
    """

    keypoints: Float32[np.ndarray, "17 3"] | None = None
    mask: bytes | None = None
    parts: bytes | None = None
    amodal: bytes | None = None
    hidden: float | None = None
    betas: Float32[np.ndarray, "10"] | None = None
    pose: Float32[np.ndarray, "24 3"] | None = None
    words: tuple[str, ...] = ()
    measurements: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One crop, ready to be written into a shard.

    Attributes:
        record: its metadata.
        image: JPEG or PNG bytes, RGB.
        suffix: "jpg" or "png".
        annotations: what else is known.
        size: (height, width) in pixels, of a maker that has checked the image; None: the header is read.
    """

    record: Record
    image: bytes
    suffix: Literal["jpg", "png"] = "jpg"
    annotations: Annotations = field(default_factory=Annotations)
    size: tuple[int, int] | None = None


INDEX_SCHEMA: Final = pa.schema(
    [
        ("key", pa.string()),
        ("dataset", pa.dictionary(pa.int32(), pa.string())),
        ("split", pa.dictionary(pa.int32(), pa.string())),
        ("role", pa.dictionary(pa.int32(), pa.string())),
        ("pid", pa.int64()),
        ("camid", pa.int32()),
        ("viewid", pa.int32()),
        ("outfit", pa.int64()),
        ("tracklet", pa.int64()),
        ("frame", pa.int64()),
        ("origin", pa.string()),
        ("shard", pa.dictionary(pa.int32(), pa.string())),
        ("sha256", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        *((f"{member}_{part}", pa.int64()) for member in MEMBERS for part in ("offset", "size")),
        ("keypoints", pa.list_(pa.float32())),  # 51 numbers; lists of a fixed size with nulls do not survive Parquet
        ("betas", pa.list_(pa.float32())),  # 10 numbers
    ]
)
"""Columns of `index.parquet`, one row a sample, in shard order. `sha256` is that of the image bytes; offsets count
bytes from the start of the shard to the member's data; member columns and annotations are null where there is none."""
