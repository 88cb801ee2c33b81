"""Draw the pictures of docs/images that show the rendered world; run by hand, after the world has changed.

Run: `python docs/pictures.py`; a minute. Every picture is a JPEG below 400 kB.
"""

from pathlib import Path

import cv2
import numpy as np

from resight.rendering.bodies import DEFAULT_BODY, find_body
from resight.rendering.preview import contact_sheet, people_sheet, shape_sheet
from resight.rendering.splits import SPLITS, Group

IMAGES = Path(__file__).parent / "images"
LIMIT = 400_000  # bytes
CLOTHES = 5, 24  # rows and images a row: three outfits by four cameras by two frames
OTHERS = 6, 18


def write(name: str, picture: np.ndarray) -> None:
    """Store a picture at the best quality below the limit."""
    for quality in (92, 88, 84, 80, 75, 70, 60):
        data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) < LIMIT:
            break
    (IMAGES / f"{name}.jpg").write_bytes(data)


def main() -> None:
    """Draw them all."""
    for split in SPLITS:
        people, per_row = CLOTHES if split == "clothes" else OTHERS
        groups: tuple[Group, ...] = ("train",) if split == "clothes" else ("train", "unlabelled", "query", "gallery")
        write(
            f"world-{split}", contact_sheet("tiny", seed=0, split=split, groups=groups, people=people, per_row=per_row)
        )
    write("world-people", people_sheet(0))
    write("world-shapes", shape_sheet(find_body(DEFAULT_BODY)))


if __name__ == "__main__":
    main()
