"""Works for the pool's tests: module-level, so that they travel to threads and actors."""

import hashlib
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from resight.cluster.errors import UserError
from resight.cluster.pool import Made, Unit
from resight.cluster.storage import LocalStorage


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Writes two files that depend on the specification only; misbehaves as the specification says, once or always."""

    marks: Path  # where "already misbehaved" is noted, outside the scratch folder
    fingerprint: str = "digits-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        misbehave(unit, self.marks / unit.name)
        text = hashlib.sha256(str(unit.spec["seed"]).encode()).hexdigest() * (1 + unit.spec["seed"] % 5)
        (scratch / "data").write_text(text)
        (scratch / "rows").write_text(str(len(text)))
        files = {f"shards/{unit.name}.txt": scratch / "data", f"rows/{unit.name}.txt": scratch / "rows"}
        return Made(files=files, facts={"characters": len(text), "shape": (1, 2)})


def misbehave(unit: Unit, mark: Path) -> None:
    kind = unit.spec.get("fault", "")
    if not kind or (unit.spec.get("once") and mark.exists()):
        return
    mark.touch()
    if kind == "error":
        raise ValueError(f"cannot make {unit.name}")
    if kind == "user":
        raise UserError("row 7 has no pid", where="labels.csv", cure="add one")
    if kind == "die":
        os._exit(3)
    if kind == "hang":
        time.sleep(60)
    raise AssertionError(kind)


@dataclass(kw_only=True)
class StopsAfter:
    """Is interrupted, as by Ctrl-C, when it is called once too often."""

    work: Digits
    calls: int
    fingerprint: str = "digits-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        if self.calls == 0:
            raise KeyboardInterrupt
        self.calls -= 1
        return self.work(unit, scratch)


@dataclass(kw_only=True)
class Buffered:
    """Keeps state in itself while it works: right only when no two threads share it."""

    fingerprint: str = "buffered-1"
    buffer: list[str] = field(default_factory=list[str])

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        self.buffer.append(unit.name)
        time.sleep(0.005)
        (scratch / "out").write_text(self.buffer.pop())
        assert not self.buffer
        thread = threading.current_thread().name
        return Made(files={f"out/{unit.name}": scratch / "out"}, facts={"thread": thread})


@dataclass(frozen=True, kw_only=True)
class Lazy:
    """Returns whatever it is told to."""

    files: dict[str, str]
    facts: dict[str, object] = field(default_factory=dict[str, object])
    read_back: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    fingerprint: str = "lazy-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        for name in self.files.values():
            if name != "missing":
                (scratch / name).write_text(name)
        files = {key: scratch / name for key, name in self.files.items()}
        return Made(files=files, facts=self.facts, read_back=self.read_back)


@dataclass(frozen=True, kw_only=True)
class Unloadable:
    """Cannot be loaded in another process."""

    fingerprint: str = "unloadable-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        raise AssertionError

    def __reduce__(self) -> tuple[object, ...]:
        return (refuse, ())


def refuse() -> None:
    raise OSError("a library is missing here")


@dataclass(frozen=True, kw_only=True)
class WhoMade:
    """Notes the process and two environment variables."""

    fingerprint: str = "who-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        facts = {"pid": os.getpid(), "mark": os.environ.get("RESIGHT_MARK"), "threads": os.environ["OMP_NUM_THREADS"]}
        return Made(files={}, facts=facts)


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Two files that are a function of the seed; takes its time."""

    pause_s: float
    fingerprint: str = "slow-1"

    def __call__(self, unit: Unit, scratch: Path) -> Made:
        if unit.spec["seed"] == "poison":
            raise ValueError("nobody can make this")
        numbers = random.Random(unit.spec["seed"])
        (scratch / "data").write_bytes(numbers.randbytes(30_000 + numbers.randrange(30_000)))
        time.sleep(self.pause_s)
        (scratch / "rows").write_bytes(numbers.randbytes(200))
        return Made(files={f"shards/{unit.name}.bin": scratch / "data", f"rows/{unit.name}": scratch / "rows"})


class OwnWords(Exception):
    """Cannot be rebuilt from its message alone, as pickle tries to."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Stubborn(LocalStorage):
    """Fails to publish, in its own words."""

    def publish_file(self, path: Path, key: str) -> None:
        raise OwnWords("this", "that")


def units_of(*seeds: int, **spec: object) -> list[Unit]:
    """Return one unit a seed, with the same further settings."""
    return [Unit(name=f"train-{seed:06d}", spec={"seed": seed, **spec}) for seed in seeds]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
