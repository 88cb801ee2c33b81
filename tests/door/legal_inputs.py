"""Inputs that look bad and are not, or are counted: what must work, and what must be seen."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.door import spoiling as s
from tests.door.spoiling import Words, World


@dataclass(frozen=True, kw_only=True)
class Works:
    """Input that looks bad and is not: exit code 0 (1 for a check that found something) and what must be seen."""

    name: str
    words: Callable[[World], Words]
    seen: tuple[str, ...]
    code: int = 0


LEGAL = [
    Works(name="suffixes in capitals", words=s.upper_case, seen=('"images": 20', '"ids": 5')),
    Works(
        name="paths like patterns, and of other scripts", words=s.strange_paths, seen=("run (1)+?$ \\d/report.html",)
    ),
    Works(
        name="images that cannot be read, within the share",
        words=s.some_bad,
        seen=(
            "2 images left out",
            "'0001_c1_9.jpg': neither JPEG nor PNG",
            "'0003_c1_9.png': 60000 x 60000 pixels are more than the limit",
            "1 image has a name that says no identity, e.g. 'holiday.jpg'",
        ),
    ),
    Works(
        name="identities with one image each, to train on",
        words=lambda w: w.train(s.one_image_each(w)),
        seen=("{here}/run",),
    ),
    Works(
        name="identities with one image each, checked",
        words=lambda w: ["data", "check", s.one_image_each(w)],
        seen=("5 trained identities have a single image",),
    ),
    Works(name="one camera only, to train on", words=lambda w: w.train(s.one_camera(w)), seen=("{here}/run",)),
    Works(
        name="one camera only, checked",
        words=lambda w: ["data", "check", s.one_camera(w)],
        seen=("11 queries have no match under another camera",),
    ),
    Works(
        name="one camera only, judged without regard to cameras",
        words=s.trained_and_judged(s.one_camera, "--protocol", "no_camera"),
        seen=("folder, no_camera", "mAP"),
    ),
    Works(
        name="no camera at all: an unknown one is the same as no other",
        words=s.trained_and_judged(lambda w: s.packed(w, s.no_camera(w))),
        seen=("folder, market1501", "mAP"),
    ),
    Works(
        name="a truncated shard, packed again",
        words=lambda w: ["pack", "folder", w.crops, "--out", s.spoilt_data("shards/train-000000.tar")(w)],
        seen=("{here}/spoilt",),
    ),
    Works(
        name="a truncated shard, checked",
        words=lambda w: ["data", "check", s.spoilt_data("shards/train-000000.tar")(w)],
        seen=("1 shard is missing or has the wrong size: shard 'train-000000' is truncated",),
        code=1,
    ),
]
