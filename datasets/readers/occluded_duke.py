"""Occluded-Duke: DukeMTMC-reID divided anew, so that every query shows somebody partly hidden.

The same three folders and names as DukeMTMC-reID (`PPPP_cC_fFFFFFFF.jpg`); `train.list`, `query.list` and
`gallery.list` beside them only repeat what lies in the folders. 1,870 of the 2,210 queries lie in the gallery as well:
the rule about the query's own camera drops them. 591 people are in the gallery only.
Source: Miao et al., Pose-Guided Feature Alignment for Occluded Person Re-Identification, ICCV 2019, and its lists;
readers in the wild repeat the figures of DukeMTMC-reID for it, wrongly.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from resight.datasets.readers.about import About, Size
from resight.datasets.readers.dukemtmc import DUKE_TREE
from resight.datasets.readers.scan import Scan

__all__ = ["OccludedDuke"]

_ABOUT: Final = About(
    title="Occluded-Duke",
    what="people partly hidden, on a campus",
    terms="derived from DukeMTMC-reID, which was withdrawn: do not use it for new work; it was for research only",
    citation="Miao et al., Pose-Guided Feature Alignment for Occluded Person Re-Identification, ICCV 2019",
    identities=1_812,
    images=35_489,
    cameras=8,
    sizes={
        "train": Size(images=15_618, ids=702),
        "query": Size(images=2_210, ids=519),
        "gallery": Size(images=17_661, ids=1_110),
    },
)
_TREE: Final = replace(
    DUKE_TREE, title=_ABOUT.title, inside=("Occluded_Duke", "Occluded-DukeMTMC", "Occluded-DukeMTMC-reID")
)


@dataclass(frozen=True, kw_only=True)
class OccludedDuke:
    """Reader of Occluded-Duke. Cameras count from 0; identities keep their numbers."""

    name: str = "occluded_duke"
    version: str = "occluded_duke-1"
    about: About = _ABOUT

    def scan(self, root: Path) -> Scan:
        """Find the crops of all three folders; UserError when one is missing or nobody can be trained."""
        return _TREE.scan(root, self.name)
