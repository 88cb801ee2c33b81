"""The questions that can be asked of the world: one split each, and what its images show in every part.

What: `SPLITS` says, as data, how each split stages its people: clothes, cameras, activities, what stands in front, what
is labelled. Why: the difference between two splits, and between training and test inside one, is all that a benchmark
measures, so it stands in one table. Source: query by camera and frame as in Zheng et al. 2015 (Market-1501); hidden
queries before whole galleries as in Zhuo et al. 2018 (Occluded-REID) and Miao et al. 2019 (Occluded-Duke); coarse
queries before fine galleries as in Li et al. 2019 (MLR-Market). Trade-off: one difficulty at a time; no split mixes
several.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from resight.cluster.errors import UserError, did_you_mean
from resight.datasets.records import Split

__all__ = [
    "SPLITS",
    "USUAL",
    "Activity",
    "CameraKind",
    "Group",
    "Layout",
    "Staging",
    "find_split",
    "part_of",
]

Group = Literal["train", "unlabelled", "val", "query", "gallery", "distractor"]
"""Who appears together: the four parts, training images without identity, and wrong answers in the gallery."""

Activity = Literal["moving", "sitting", "reaching", "carrying"]
"""moving: walking, now and then standing."""

CameraKind = Literal["usual", "foreign", "coarse"]
"""foreign: other viewpoints and colours than the usual ones have. coarse: a fraction of the pixels."""


@dataclass(frozen=True, kw_only=True)
class Staging:
    """How the images of one group are staged.

    Attributes:
        cameras: kinds of cameras that see everybody.
        kinds: of cameras that the split has; with two kinds, each has half of the world's cameras.
        activities: one is drawn for every image.
        occluded: share of the images in which something stands in front of the person.
        least: share of the person that is then hidden, at least aimed at.
        most: the same, at most.
        bare: bodies of one clay, without clothes, skin, face and hair, in a studio: plain background, one light.
        extras: whether outfits have bags, layers, hems and collars of their own.
        labelled: whether anybody may know who it is.
    """

    cameras: tuple[CameraKind, ...] = ("usual",)
    kinds: int = 1
    activities: tuple[Activity, ...] = ("moving",)
    occluded: float = 0.0
    least: float = 0.0
    most: float = 0.0
    bare: bool = False
    extras: bool = True
    labelled: bool = True


USUAL: Final = Staging(extras=False)
"""The plainest staging."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one split shows its people.

    Attributes:
        name: of the split.
        code: makes the identities' numbers; never 0, which some protocols read as a distractor.
        outfits: of each person.
        frames: images of each outfit by each camera.
        query_by: an image is a query when its "frame" or its "outfit" is number 0, all others are gallery; "camera":
            query and gallery have cameras of their own, and all their images.
        groups: who appears, and how.
    """

    name: str
    code: int
    outfits: int = 1
    frames: int = 6
    query_by: Literal["frame", "outfit", "camera"] = "frame"
    groups: Mapping[Group, Staging]


def _everywhere(staging: Staging) -> dict[Group, Staging]:
    return {"train": staging, "val": staging, "query": staging, "gallery": staging, "distractor": staging}


def _groups(train: Staging, val: Staging, query: Staging, gallery: Staging) -> dict[Group, Staging]:
    return {"train": train, "val": val, "query": query, "gallery": gallery, "distractor": gallery}


_DRESSED: Final = Staging()
_FOREIGN: Final = Staging(cameras=("foreign",))
_FINE: Final = Staging(kinds=2)
_COARSE: Final = Staging(cameras=("coarse",), kinds=2)
_MIXED: Final = Staging(cameras=("usual", "coarse"), kinds=2)
_BUSY: Final = Staging(activities=("sitting", "reaching", "carrying"))


def _behind(share: float, least: float = 0.1) -> Staging:
    """Stage this share of the images behind something that hides up to 60 % of the person."""
    return Staging(occluded=share, least=least, most=0.6)


SPLITS: Final[dict[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout(name="base", code=1, groups=_everywhere(USUAL)),
        Layout(name="clothes", code=2, outfits=3, frames=2, query_by="outfit", groups=_everywhere(USUAL)),
        Layout(name="occluded", code=3, groups=_groups(_behind(0.25), _behind(0.5), _behind(1.0, 0.15), _behind(0.1))),
        Layout(
            name="style",
            code=4,
            groups={
                **_groups(_DRESSED, _DRESSED, _FOREIGN, _FOREIGN),
                "unlabelled": replace(_FOREIGN, labelled=False),
            },
        ),
        Layout(name="pose", code=5, groups=_groups(_DRESSED, _DRESSED, _BUSY, _BUSY)),
        Layout(name="lowres", code=6, query_by="camera", groups=_groups(_MIXED, _MIXED, _COARSE, _FINE)),
        Layout(name="shape", code=7, groups=_everywhere(Staging(bare=True, extras=False))),
    )
}
"""base: the same clothes in other cameras. clothes: other clothes. occluded: queries behind things, galleries in the
open. style: test cameras unlike the labelled ones, with unlabelled training images of other people in them. pose:
trained on people who walk, asked about people who sit, reach and carry. lowres: queries of few pixels. shape: bodies
of one clay in a studio; in the cameras' own scenes a network learns the scenes and nothing of the bodies."""


def find_split(name: str) -> Layout:
    """Return the split called `name`.

    Raises:
        UserError: when there is none.
    """
    if name not in SPLITS:
        raise UserError(f"there is no split {name!r}", where="--splits", cure=did_you_mean(name, SPLITS))
    return SPLITS[name]


def part_of(group: Group) -> Split:
    """Return the part of a data set that a group belongs to."""
    if group == "unlabelled":
        return "train"
    return "gallery" if group == "distractor" else group
