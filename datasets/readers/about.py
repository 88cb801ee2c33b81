"""What is published about a data set: what it shows, how large it is, its terms, whom to cite.

Figures stand here only when the official lists, the authors' page or an independent reader's source gives them; a
figure that somebody merely remembers is left out. They are compared with what was packed, never demanded of it.
Source: the pages and papers that each reader names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from resight.datasets.records import Split

__all__ = ["About", "Size"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Published size of one split.

    Attributes:
        images: all files of the split, junk and distractors included; None when not published.
        ids: known people, distractors and junk not included; None when not published.
        tracklets: for sequences; None when not published or none.
    """

    images: int | None = None
    ids: int | None = None
    tracklets: int | None = None


@dataclass(frozen=True, kw_only=True)
class About:
    """A data set, for people.

    Attributes:
        title: its usual name.
        what: what it shows, in half a line.
        terms: under which terms its authors give it, in words.
        citation: whom to cite.
        identities: of the whole; None when not published.
        images: of the whole; None when not published.
        cameras: None when there are no camera labels, or their number is not published.
        sizes: published size of each split.
    """

    title: str
    what: str
    terms: str
    citation: str
    identities: int | None = None
    images: int | None = None
    cameras: int | None = None
    sizes: Mapping[Split, Size] = field(default_factory=dict[Split, Size])
