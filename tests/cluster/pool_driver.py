"""A pool's driver as a process of its own, to be killed: makes small units, slowly, and says how far it is.

Arguments: where to publish, how many units, how many workers, and, for Ray, the cluster's address. The last unit is
poisoned.
"""

import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from resight.cluster.pool import InProcess, Made, PoolBackend, PoolResult, RayActors, Unit, run_pool
from resight.cluster.progress import Progress, Step, silent
from resight.cluster.session import ray_session
from resight.cluster.storage import Storage, open_storage


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


def make(
    storage: Storage, units: int, backend: PoolBackend, progress: Progress = silent, pause_s: float = 0.0
) -> PoolResult:
    wanted = [Unit(name=f"unit-{n:03d}", spec={"seed": n}) for n in range(units)]
    poison = Unit(name="poisoned", spec={"seed": "poison"})
    return run_pool(Slow(pause_s=pause_s), [*wanted, poison], storage, backend=backend, progress=progress)


def tell(step: Step) -> None:
    sys.stdout.write(f"{step.done}\n")
    sys.stdout.flush()


def main(place: str, units: str, workers: str, address: str = "") -> None:
    storage = open_storage(place)
    if address:
        with ray_session(address=address):
            result = make(storage, int(units), RayActors(workers=int(workers)), tell, pause_s=0.7)
    else:
        result = make(storage, int(units), InProcess(workers=int(workers)), tell, pause_s=0.1)
    sys.stdout.write(json.dumps({"quarantined": [[each.name, each.reason] for each in result.quarantined]}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
