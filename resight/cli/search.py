"""`resight search`: find a person in a gallery."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from resight.cli.place import Place

if TYPE_CHECKING:
    from resight.trainers.gallery.finding import Findings

__all__ = ["Search"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Find the images of an index that are nearest to a picture, by cosine distance: exactly, unless you say --probes.

    A query is a picture, a folder of pictures, or DATA:KEY for an image of a data set; one that is in the index itself
    is not among its own answers. A match is a ranking, not an identification.

    Examples:
      resight search photo.jpg --index people
      resight search data/market:0001_c1s1_001051_00 --index people --where camid=2,3 --page found.html
      resight search photos/ --index people --top 5 --json | jq '.found[].results[0]'
    """

    queries: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="QUERY [QUERY ...]")]
    """Pictures, folders of pictures, or DATA:KEY."""
    index: Path
    """The index to search, made by `resight index`."""
    run_folder: Annotated[str | None, tyro.conf.arg(name="run", metavar="RUN")] = None
    """The run whose model made the index, if it has moved since, a folder or URL; its weights are compared."""
    top: int = 10
    """Answers a query."""
    probes: int | None = None
    """Look only into so many cells of the index, the nearest (see resight index --cells): faster, and may miss."""
    where: tuple[str, ...] = ()
    """Search only such images: camid=3, camid=1,2, pid!=7, dataset=NAME; all that are given must hold."""
    page: Path | None = None
    """Write a page of pictures there (HTML)."""
    data: tuple[Place, ...] = ()
    """For the page: data sets that have moved since they were embedded."""
    json: bool = False
    """Print the answers as JSON."""

    def run(self) -> int:
        """Search and show."""
        from resight.terminal import show, show_json, show_note
        from resight.trainers.gallery.finding import find

        found = find(self.queries, self.index, run=self.run_folder, top=self.top, where=self.where, probes=self.probes)
        page = None if self.page is None else self._page(found, self.page)
        if found.probed is not None and not self.json:
            show_note(str(found.probed))
        if self.json:
            show_json({**found.to_dict(), **({} if page is None else {"page": str(page)})})
        elif page is not None:
            show(str(page))
        else:
            _tables(found)
        return 0

    def _page(self, found: "Findings", out: Path) -> Path:
        from resight.trainers.report.search_page import write_search_page

        return write_search_page(found, out, data=self.data)


def _tables(found: "Findings") -> None:
    from resight.terminal import show_table

    columns = ("key", "data set", "pid", "camera", "distance")
    for query, answers in zip(found.queries, found.answers, strict=True):
        rows = [
            (
                answer.image.key,
                answer.image.dataset,
                *("?" if value < 0 else str(value) for value in (answer.image.pid, answer.image.camid)),
                f"{answer.distance:.4f}",
            )
            for answer in answers
        ]
        show_table(query.name, columns, rows)
