"""`resight body ...`: bring in a body of one's own, and look at one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from resight.rendering.body import Body

__all__ = ["Convert", "Show"]


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Turn a published SMPL, SMPL-H or SMPL-X file (.pkl or .npz) into a body for rendering.

    Nothing in the file is run: only arrays are read. Vertices keep their numbers; hair and the rims of clothes are
    added. You need the right to use the file: its licence excludes commercial use and surveillance.

    Examples:
      resight body convert SMPL_NEUTRAL.pkl --out bodies/smpl.npz
      resight body convert SMPLX_NEUTRAL.npz --out bodies/smplx.npz --json
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The model's file, as its publisher gives it."""
    out: Path
    """The .npz to write."""
    json: bool = False
    """Print what was written as JSON."""

    def run(self) -> int:
        """Convert, write and say what came out."""
        from resight.cluster.errors import UserError
        from resight.rendering.body import save_body
        from resight.rendering.official import convert

        if self.out.suffix != ".npz":
            raise UserError(f"{self.out.name} is no .npz", where="--out", cure=f"write {self.out.stem}.npz")
        body = convert(self.file)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        save_body(body, self.out, about=f"converted from {self.file.name}; its own licence holds")
        _tell(body, str(self.out), as_json=self.json)
        return 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """Measure a body, name its shape in words, and draw it dressed in five poses from four sides.

    Examples:
      resight body show anny
      resight body show bodies/smpl.npz --betas 2 -1 --sheet smpl.png
    """

    body: Annotated[str, tyro.conf.Positional]
    """anny (shipped), capsule (for tests), or the path of a body's .npz."""
    betas: tuple[float, ...] = ()
    """Shape coefficients, in standard deviations; up to ten, the rest are 0. Beyond 2.5 bodies cease to look real."""
    sheet: Path | None = None
    """PNG file to draw into."""
    json: bool = False
    """Print the measurements as JSON."""

    def run(self) -> int:
        """Measure, and draw where asked."""
        from resight.cluster.errors import UserError
        from resight.rendering.bodies import find_body

        if len(self.betas) > 10:
            raise UserError(f"{len(self.betas)} shape coefficients", where="--betas", cure="give ten at most")
        body = find_body(self.body)
        betas = [*self.betas, *[0.0] * (10 - len(self.betas))]
        if self.sheet is not None:
            from resight.cluster.storage import open_storage
            from resight.datasets.sheet import sheet_png
            from resight.rendering.bodysheet import body_sheet

            open_storage(self.sheet.parent).publish(sheet_png(body_sheet(body, betas)), self.sheet.name)
        _tell(body, self.body, betas=betas, as_json=self.json)
        return 0


def _tell(body: "Body", name: str, *, betas: list[float] | None = None, as_json: bool) -> None:
    import numpy as np

    from resight.rendering.bodies import body_sha256
    from resight.rendering.measure import measurements, shape_words
    from resight.terminal import show, show_json, show_list

    measured = measurements(body, np.array(betas or [0.0] * 10))
    words = shape_words(measured, body.word_scale)
    facts = {"body": name, "vertices": len(body.v_template), "faces": len(body.f), "sha256": body_sha256(body)}
    if as_json:
        show_json({**facts, "measurements": {k: round(v, 4) for k, v in measured.items()}, "words": list(words)})
        return
    show_list([(key, str(value)) for key, value in facts.items()])
    show_list([(key.replace("_", " "), f"{value:.3f} m") for key, value in measured.items()])
    show(", ".join(words))
