"""A pool's driver as a process of its own, to be killed: makes small units, slowly, and says how far it is.

Arguments: where to publish, how many units, how many workers, then "threads", "processes" or a Ray cluster's address,
and how long a unit takes, in seconds. The last unit is poisoned.
"""

import json
import sys

from resight.cluster.pool import InProcess, PoolBackend, PoolResult, Processes, RayActors, Unit, run_pool
from resight.cluster.progress import Progress, Step, silent
from resight.cluster.session import ray_session
from resight.cluster.storage import Storage, open_storage
from tests.cluster.works import Slow


def make(
    storage: Storage, units: int, backend: PoolBackend, progress: Progress = silent, pause_s: float = 0.0
) -> PoolResult:
    wanted = [Unit(name=f"unit-{n:03d}", spec={"seed": n}) for n in range(units)]
    poison = Unit(name="poisoned", spec={"seed": "poison"})
    return run_pool(Slow(pause_s=pause_s), [*wanted, poison], storage, backend=backend, progress=progress)


def tell(step: Step) -> None:
    sys.stdout.write(f"{step.done}\n")
    sys.stdout.flush()


def main(place: str, units: str, workers: str, where: str, pause_s: str) -> None:
    storage, count, pause = open_storage(place), int(workers), float(pause_s)
    local = {"threads": InProcess(workers=count), "processes": Processes(workers=count)}
    if where in local:
        result = make(storage, int(units), local[where], tell, pause_s=pause)
    else:
        with ray_session(address=where):
            result = make(storage, int(units), RayActors(workers=count), tell, pause_s=pause)
    sys.stdout.write(json.dumps({"quarantined": [[each.name, each.reason] for each in result.quarantined]}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
