"""`resight index`: make, check and change an index of features."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from resight.cluster.errors import UserError

if TYPE_CHECKING:
    from resight.trainers.gallery.change import Forgotten

__all__ = ["Index"]


@dataclass(frozen=True, kw_only=True)
class Index:
    """Make an index of feature files that `resight search` looks into; add to one; check it; forget people; make cells.

    Features of another model are refused, and so are images that are in the index already. Forgetting removes the
    vectors and rows of a person from the index's files; the pictures and feature files they came from are yours to
    delete. Cells are for a faster, approximate search (resight search --probes), and need resight[faiss] to be made.
    Exit code 1 when a check finds damage.

    Examples:
      resight index market.parquet --out people
      resight index more.parquet --out people               # adds to it
      resight index --forget 17 market:23 --index people    # identities, of one data set where numbers are shared
      resight index --check --index people
      resight index --cells auto --index people             # then: resight search --probes 8 ...
    """

    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[FILE ...]")] = ()
    """Feature files of `resight embed` to add: all of them, or on any error none."""
    out: Path | None = None
    """The index to make or to add to."""
    index: Path | None = None
    """The index to check, to forget people in, or to make cells in."""
    replace: bool = False
    """Put images that are in the index already in the place of the old ones."""
    forget: tuple[str, ...] = ()
    """Identities to remove, each PID or DATASET:PID."""
    forget_keys: tuple[str, ...] = ()
    """Images to remove, each KEY or DATASET:KEY, such as those that have no identity."""
    check: bool = False
    """Compare every byte with its checksum."""
    cells: Literal["auto"] | int | None = None
    """Put the vectors into so many cells, in place of those there are; auto: four times the root of their number."""
    json: bool = False
    """Print what was done as JSON."""

    def run(self) -> int:
        """Change or check, and report."""
        forgetting = bool(self.forget or self.forget_keys)
        if bool(self.files) + forgetting + self.check + (self.cells is not None) != 1:
            cure = "resight index FILE --out DIR; or with --index DIR: --forget PID, --check, or --cells auto"
            problem = "say one thing to do: add files, forget people, check, or make cells"
            raise UserError(problem, where="resight index", cure=cure)
        if self.files:
            return self._add(_folder(self.out, self.index, "--out"))
        if self.replace:
            cure = "leave it out, or name feature files"
            raise UserError("--replace is for adding files", where="--replace", cure=cure)
        path = _folder(self.index, self.out, "--index")
        if forgetting:
            return self._forget(path)
        return self._check(path) if self.check else self._cells(path)

    def _add(self, path: Path) -> int:
        from resight.cluster.words import counted
        from resight.terminal import show, show_json, show_note
        from resight.trainers.gallery.change import add_features

        added = add_features(self.files, path, replace_keys=self.replace)
        if self.json:
            show_json({"index": str(path), **asdict(added)})
            return 0
        if added.junk:
            show_note(counted(added.junk, "[image|images] of the role 'junk' left out: they are never ranked"))
        told = f" ({added.replaced:,} of them replaced)" if added.replaced else ""
        show(f"{path}: {counted(added.images, '[image|images] added')}{told}, {added.rows:,} in the index")
        return 0

    def _forget(self, path: Path) -> int:
        from resight.terminal import show_json
        from resight.trainers.gallery.change import forget
        from resight.trainers.gallery.people import People

        done = forget(path, People(pids=self.forget, keys=self.forget_keys))
        if self.json:
            show_json({"index": str(path), **asdict(done)})
        else:
            _tell(path, done)
        return 0

    def _check(self, path: Path) -> int:
        from resight.terminal import show, show_json
        from resight.trainers.gallery.index import check_index

        wrong = check_index(path)
        if self.json:
            show_json({"index": str(path), "sound": not wrong, "problems": wrong})
        else:
            show("\n".join(wrong) if wrong else f"{path}: every file is as it was written")
        return 1 if wrong else 0

    def _cells(self, path: Path) -> int:
        from resight.cluster.words import counted
        from resight.terminal import show, show_json
        from resight.trainers.gallery.partition import make_cells

        made = make_cells(path, self.cells if isinstance(self.cells, int) else None)
        if self.json:
            show_json({"index": str(path), **asdict(made)})
        else:
            empty = f", {made.empty:,} of them empty" if made.empty else ""
            images = counted(made.images, "[image|images]")
            show(f"{path}: {images} in {counted(made.cells, '[cell|cells]')}{empty}, at most {made.largest:,} in one")
        return 0


def _folder(wanted: Path | None, other: Path | None, option: str) -> Path:
    if wanted is None or other is not None:
        cure = f"name the index with {option} DIR, once"
        raise UserError(f"which index is meant is given by {option}", where="resight index", cure=cure)
    return wanted


def _tell(path: Path, done: "Forgotten") -> None:
    from resight.cluster.words import counted
    from resight.terminal import show, show_note

    absent = [word for word, count in done.counts.items() if count == 0]
    if absent:
        show_note(f"not in the index: {', '.join(absent)}; its data sets: {', '.join(done.datasets) or 'none'}")
    show(f"{path}: {counted(done.images, '[image|images] forgotten')}, {done.rows:,} left in the index")
    if done.images:
        show_note("pictures, feature files and copies of the index elsewhere still hold them: delete them there too")
