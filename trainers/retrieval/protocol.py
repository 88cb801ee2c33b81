"""What an evaluation protocol is, as data: who asks, who answers, and which answers a query is not asked to find.

A gallery image of the query's own identity is dropped from that query's ranking when any of the protocol's rules
holds. All else is common: junk (`JUNK`) is never ranked, distractors (`DISTRACTOR`, or any identity that no query has)
stay as wrong answers, an unknown label (-1) neither agrees nor differs, and a query that keeps no possible match is
named with the reason.
Single-shot protocols draw: the gallery is put in a random order, and of each identity only the first image that the
query's rules keep is ranked.
Source: Zheng et al. 2015 (Market-1501), section 4, for the rule by camera; each protocol names its own.
Trade-off: rules that look at other identities cannot be said; no published protocol needs one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from resight.cluster.errors import UserError, did_you_mean

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "MARKET1501",
    "NO_CAMERA",
    "PROTOCOLS",
    "UNKNOWN",
    "Drop",
    "EvalProtocol",
    "Field",
    "find_protocol",
]

Field = Literal["camid", "outfit", "tracklet"]

JUNK: Final = -1
"""Identity of a gallery image that is never ranked; a query with a negative identity is skipped."""

DISTRACTOR: Final = -2
"""Identity of a gallery image that stays in every ranking as a wrong answer."""

UNKNOWN: Final = -1
"""A label, other than the identity, that is not known: it never equals another, not even another unknown one."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A rule: it holds when the labels in `same` are known and equal, and those in `other` known and different."""

    same: tuple[Field, ...] = ()
    other: tuple[Field, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EvalProtocol:
    """One set of rules.

    Attributes:
        name: its key in `PROTOCOLS`.
        drop: a gallery image of the query's identity is dropped when any of these holds.
        source: where the rules are published.
        needs: labels that every image of a person must have.
        query_cameras: cameras that ask, numbered from 0 as readers do; () for all.
        gallery_cameras: cameras that answer; () for all.
        gallery: "all" images, or "one" of each identity, drawn anew for each repeat; distractors stay.
        queries: those of the split ("given"), or every image of both splits that was not drawn ("rest").
        repeats: number of draws whose scores are averaged.
        unit: what is ranked: an "image", or a "tracklet" by the mean of its images' features.
        identities: how many the published test set has; None where it is not checked.
    """

    name: str
    drop: tuple[Drop, ...]
    source: str
    needs: tuple[Field, ...] = ()
    query_cameras: tuple[int, ...] = ()
    gallery_cameras: tuple[int, ...] = ()
    gallery: Literal["all", "one"] = "all"
    queries: Literal["given", "rest"] = "given"
    repeats: int = 1
    unit: Literal["image", "tracklet"] = "image"
    identities: int | None = None


_CAMERA: Final = Drop(same=("camid",))
_CAL: Final = "Gu et al. 2022 (CAL, arXiv:2204.06890)"

MARKET1501: Final = EvalProtocol(
    name="market1501", drop=(_CAMERA,), source="Zheng et al. 2015: only other cameras count as found again"
)
NO_CAMERA: Final = EvalProtocol(
    name="no_camera", drop=(), source="data without camera labels: every image of the identity counts"
)

_ALL: Final = (
    MARKET1501,
    NO_CAMERA,
    EvalProtocol(name="cuhk03_np", drop=(_CAMERA,), source="Zhong et al. 2017: 767 / 700 identities, the Market rule"),
    EvalProtocol(name="msmt17", drop=(_CAMERA,), source="Wei et al. 2018: the Market rule"),
    EvalProtocol(name="veri776", drop=(_CAMERA,), source="Liu et al. 2016: the Market rule, for vehicles"),
    EvalProtocol(
        name="single_shot",
        drop=(_CAMERA,),
        gallery="one",
        repeats=10,
        source="Li et al. 2014 (CUHK03): one gallery image of each identity from another camera, 10 draws",
    ),
    EvalProtocol(name="clothes_general", drop=(_CAMERA,), source=f"Qian et al. 2020 (LTCC), standard; {_CAL}"),
    EvalProtocol(
        name="clothes_changed",
        drop=(_CAMERA, Drop(same=("outfit",))),
        needs=("outfit",),
        source=f"{_CAL}: the same camera or the same clothes are not counted",
    ),
    EvalProtocol(
        name="clothes_changed_literal",
        drop=(Drop(same=("camid", "outfit")),),
        needs=("outfit",),
        source="Qian et al. 2020 (LTCC) to the letter: the same camera and the same clothes at once are not counted",
    ),
    EvalProtocol(
        name="clothes_same",
        drop=(_CAMERA, Drop(other=("outfit",))),
        needs=("outfit",),
        source=f"{_CAL}: the same camera or other clothes are not counted",
    ),
    EvalProtocol(
        name="prcc_same",
        drop=(_CAMERA,),
        query_cameras=(1,),
        gallery_cameras=(0,),
        source=f"Yang et al. 2019 (PRCC), B asks A; the whole of A as in {_CAL}",
    ),
    EvalProtocol(
        name="prcc_cross",
        drop=(_CAMERA,),
        query_cameras=(2,),
        gallery_cameras=(0,),
        source=f"Yang et al. 2019 (PRCC), C asks A; the whole of A as in {_CAL}",
    ),
    EvalProtocol(
        name="prcc_same_single_shot",
        drop=(_CAMERA,),
        query_cameras=(1,),
        gallery_cameras=(0,),
        gallery="one",
        repeats=10,
        source="Yang et al. 2019 (PRCC): B asks one image of each identity of A, 10 draws",
    ),
    EvalProtocol(
        name="prcc_cross_single_shot",
        drop=(_CAMERA,),
        query_cameras=(2,),
        gallery_cameras=(0,),
        gallery="one",
        repeats=10,
        source="Yang et al. 2019 (PRCC): C asks one image of each identity of A, 10 draws",
    ),
    EvalProtocol(
        name="vcclothes_same",
        drop=(_CAMERA,),
        query_cameras=(1, 2),
        gallery_cameras=(1, 2),
        source="Wan et al. 2020 (VC-Clothes): cameras 2 and 3, where nobody changes clothes",
    ),
    EvalProtocol(
        name="vcclothes_changed",
        drop=(_CAMERA,),
        query_cameras=(2, 3),
        gallery_cameras=(2, 3),
        source="Wan et al. 2020 (VC-Clothes): cameras 3 and 4, where everybody changes clothes",
    ),
    EvalProtocol(
        name="deepchange",
        drop=(Drop(same=("tracklet",)),),
        needs=("tracklet",),
        source=f"Xu and Zhu 2021 (DeepChange) as {_CAL} reads it: the query's own tracklet is not counted",
    ),
    EvalProtocol(
        name="tracklets",
        drop=(_CAMERA,),
        unit="tracklet",
        needs=("tracklet",),
        source="Zheng et al. 2016 (MARS): one mean feature a tracklet, the Market rule",
    ),
    EvalProtocol(
        name="tracklets_changed",
        drop=(_CAMERA, Drop(same=("outfit",))),
        unit="tracklet",
        needs=("tracklet", "outfit"),
        source=f"{_CAL} (CCVID): one mean feature a tracklet, the same camera or the same clothes are not counted",
    ),
    *(
        EvalProtocol(
            name=f"vehicleid_{size}",
            drop=(),
            gallery="one",
            queries="rest",
            repeats=10,
            identities=size,
            source=f"Liu et al. 2016 (VehicleID): one image of each of {size} vehicles answers, the rest ask, 10 draws",
        )
        for size in (800, 1600, 2400)
    ),
)

PROTOCOLS: Final[Mapping[str, EvalProtocol]] = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> EvalProtocol:
    """Return the protocol called `name`; UserError with the nearest name when there is none."""
    if name not in PROTOCOLS:
        raise UserError(
            f"there is no evaluation protocol {name!r}", where="protocol", cure=did_you_mean(name, PROTOCOLS)
        )
    return PROTOCOLS[name]
