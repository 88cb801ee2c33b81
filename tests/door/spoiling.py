"""Inputs that are wrong, or only look so: each function prepares one and returns the command that meets it.

`World` holds what all rows share: a small folder of crops, the data set packed from it and a run trained on that. Rows
work in a folder of their own; what they copy there and must stay as it is they add to `published`.
"""

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from resight.cli.app import run
from tests.datasets.making import jpeg

QUICK = (  # noqa: SIM905 - to be read as a line of options
    "--size tiny --quiet --run.epochs 2 --model.width 2 --sampler.ids-per-batch 4 --sampler.images-per-id 2 "
    "--augment.height 32 --augment.width 16 --data.threads 1"
).split()

Words = list[str | Path]


@dataclass(kw_only=True)
class World:
    """Where a row plays.

    Attributes:
        crops, data, run: the good ones, shared: never written to.
        here: the row's own folder.
        published: what has to be byte-equal afterwards.
        at_end: undoes mounts.
    """

    crops: Path
    data: Path
    run: Path
    here: Path
    published: list[Path] = field(default_factory=list[Path])
    at_end: ExitStack

    def train(self, data: Path, *more: str | Path, out: Path | None = None) -> Words:
        return ["train", "strong_baseline", "--data", data, "--out", out or self.here / "run", *QUICK, *more]

    def pack(self, source: Path, *more: str | Path) -> Words:
        return ["pack", "folder", source, "--out", self.here / "packed", *more]

    def copy_of(self, source: Path, name: str = "") -> Path:
        """A copy to spoil."""
        return Path(shutil.copytree(source, self.here / (name or source.name)))

    def unfinished(self, finished: Path | None = None) -> Path:
        """A copy of a run, as if it had been stopped before its last event."""
        copy = self.copy_of(finished or self.run, "unfinished")
        events = copy / "events.jsonl"
        events.write_text("".join(line for line in events.read_text().splitlines(True) if '"finish"' not in line))
        return copy

    def small_disk(self, size: str) -> Path:
        """A file system of so many bytes."""
        return self._mount(self.here / "disk", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")

    def read_only(self, folder: Path) -> Path:
        """The same folder, read-only, also to root."""
        place = self._mount(self.here / "read-only", "--bind", str(folder))
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        return place

    def _mount(self, place: Path, *words: str) -> Path:
        place.mkdir()
        if subprocess.run(["mount", *words, str(place)], capture_output=True).returncode != 0:
            pytest.skip("mounting needs root")
        self.at_end.callback(lambda: subprocess.run(["umount", str(place)], check=True))
        return place


def do(*words: str | Path) -> None:
    """Run a command that must work."""
    assert run([str(word) for word in words]) == 0


def good_crops(folder: Path, *, ids: int = 16, cameras: int = 2, each: int = 2, end: str = ".jpg") -> Path:
    """Crops named PID_cCAM_NUMBER.jpg; half of the people are set aside for testing."""
    folder.mkdir(parents=True)
    for pid in range(ids):
        for camera in range(1, cameras + 1):
            for number in range(each):
                picture = jpeg(100 * pid + 10 * camera + number, height=32, width=16)
                (folder / f"{pid:04d}_c{camera}_{number}{end}").write_bytes(picture)
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 3,600,000,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def beside(name: str, data: bytes) -> Callable[[World], Words]:
    """Good crops and one file more; nothing may be left out."""

    def prepare(world: World) -> Words:
        crops = world.copy_of(world.crops, "crops")
        (crops / name).write_bytes(data)
        return world.pack(crops)

    return prepare


def some_bad(world: World) -> Words:
    crops = world.copy_of(world.crops, "crops")
    (crops / "0001_c1_9.jpg").write_bytes(b"not a picture")
    (crops / "0003_c1_9.png").write_bytes(bomb())
    (crops / "holiday.jpg").write_bytes(jpeg(1))
    return world.pack(crops, "--max-bad-share", "0.1")


def only(name: str) -> Callable[[World], Words]:
    """A folder with one picture of this name."""

    def prepare(world: World) -> Words:
        (world.here / "photos").mkdir()
        (world.here / "photos" / name).write_bytes(jpeg(1))
        return world.pack(world.here / "photos")

    return prepare


def upper_case(world: World) -> Words:
    return world.pack(good_crops(world.here / "upper", end=".JPG"), "--json")


def strange_paths(world: World) -> Words:
    """Packed, trained, judged and reported under names that a pattern, a format or a URL might trip over."""
    data, out = world.here / "Straße [b]*%s{x} 猫", world.here / "run (1)+?$ \\d"
    do("pack", "folder", good_crops(world.here / "weiß [a-z]+(x)* {1}", end="_ü [0-9]+$.jpg"), "--out", data)
    do(*world.train(data, out=out))
    do("evaluate", out, "--data", data, "--quiet")
    return ["report", out]


def packed(world: World, source: Path) -> Path:
    do(*world.pack(source, "--quiet"))
    return world.here / "packed"


def one_image_each(world: World) -> Path:
    return packed(world, good_crops(world.here / "single", cameras=1, each=1))


def one_camera(world: World) -> Path:
    return packed(world, good_crops(world.here / "one", cameras=1, each=3))


def no_camera(world: World, *, split: str = "") -> Path:
    """A CSV without the column, beside its crops."""
    crops = good_crops(world.here / "none", cameras=1, each=3)
    lines = [f"{path.name[:4]},{path.name}" + (f",{split}" if split else "") for path in sorted(crops.iterdir())]
    (crops / "list.csv").write_text("\n".join(["pid,path" + (",split" if split else ""), *lines]) + "\n")
    return crops / "list.csv"


def trained_and_judged(data: Callable[[World], Path], *more: str) -> Callable[[World], Words]:
    def prepare(world: World) -> Words:
        made = data(world)
        do(*world.train(made))
        return ["evaluate", world.here / "run", "--data", made, *more]

    return prepare


def tests_only(world: World) -> Words:
    """A data set whose people are all set aside for testing."""
    from tests.datasets.making import crops, write_dataset

    write_dataset([*crops("query", ids=2, per_id=1), *crops("gallery", ids=2, per_id=1)], world.here / "tests")
    return world.train(world.here / "tests")


def config_with(old: str, new: str) -> Callable[[World], Words]:
    """Train from a copy of the run's config.yaml in which `old` is now `new`."""

    def prepare(world: World) -> Words:
        text = (world.run / "config.yaml").read_text()
        assert old in text
        (world.here / "mine.yaml").write_text(text.replace(old, new, 1))
        return ["train", "--config", world.here / "mine.yaml", "--out", world.here / "run"]

    return prepare


def checkpoint_of_another_network(world: World) -> Words:
    """A run whose checkpoints are those of a wider network."""
    other, mine = world.here / "other", world.unfinished()
    do(*world.train(world.data, "--model.width", "4", out=other))
    shutil.rmtree(mine / "checkpoints")
    shutil.copytree(other / "checkpoints", mine / "checkpoints")
    world.published.append(mine / "checkpoints")
    return world.train(world.data, out=mine)


def checkpoint_of_other_people(world: World) -> Words:
    """The same path holds another data set than when the run began."""
    data = packed(world, good_crops(world.here / "more", ids=30))
    do(*world.train(data))
    mine = world.unfinished(world.here / "run")
    shutil.rmtree(data)
    shutil.copytree(world.data, data)
    world.published.append(mine / "checkpoints")
    return world.train(data, out=mine)


def spoilt_run(name: str) -> Callable[[World], Path]:
    """An unfinished run, one file of whose checkpoint ends too early."""

    def prepare(world: World) -> Path:
        mine = world.unfinished()
        truncate(sorted((mine / "checkpoints").iterdir())[-1] / name)
        world.published.append(mine / "checkpoints")
        return mine

    return prepare


def spoilt_data(name: str) -> Callable[[World], Path]:
    def prepare(world: World) -> Path:
        copy = world.copy_of(world.data, "spoilt")
        truncate(copy / name)
        world.published.append(copy)
        return copy

    return prepare


def spoilt_events(world: World) -> Words:
    mine = world.unfinished()
    events = mine / "events.jsonl"
    events.write_text(f"rubbish\n{events.read_text()}")
    return world.train(world.data, out=mine)


def pack_on_a_full_disk(world: World) -> Words:
    disk = world.small_disk("60k")
    (disk / "kept").write_bytes(bytes(8000))
    world.published.append(disk / "kept")
    return ["pack", "folder", world.crops, "--out", disk / "packed"]


def train_on_a_full_disk(world: World) -> Words:
    """Room for the checkpoint that is there, and not for the next."""
    begun = world.unfinished()
    shutil.rmtree(sorted((begun / "checkpoints").iterdir())[-1])
    pages = sum(-(-path.stat().st_size // 4096) for path in begun.rglob("*") if path.is_file())
    disk = world.small_disk(str((pages + 8) * 4096))
    mine = Path(shutil.copytree(begun, disk / "run"))
    world.published.append(mine / "checkpoints")
    return world.train(world.data, out=mine)


def more_room(world: World) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(world.here / "disk")], check=True)


def sheet_on_a_full_disk(world: World) -> Words:
    disk = world.small_disk("8k")
    return ["data", "sheet", world.data, "--out", disk / "sheet.png", "--per-id", "2"]


def beyond_a_file_size(world: World) -> Words:
    """Instead of a full disk where nothing can be mounted: no file may be larger than 4,000 bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    world.at_end.callback(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)))
    return world.pack(world.crops, "--workers", "1")


def in_a_read_only_folder(*words: str | Path) -> Callable[[World], Words]:
    """The words with DATA, RUN and OUT put in; OUT is below a folder that cannot be written to."""

    def prepare(world: World) -> Words:
        (world.here / "shut").mkdir()
        shutil.copytree(world.run, world.here / "shut/run")
        shut = world.read_only(world.here / "shut")
        places = {"CROPS": world.crops, "DATA": world.data, "RUN": shut / "run", "OUT": shut / "new"}
        return [places.get(str(word), word) for word in words]

    return prepare


def nan(world: World) -> Words:
    world.published.append(world.run)
    return world.train(world.data, "--optim.lr", "1e30", "--schedule.warmup-epochs", "0")
