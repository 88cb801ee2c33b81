"""Planning identity batches: ours against the usual sampler in plain Python.

    python benchmarks/planning.py [--rows 100000] [--ids 8000] [--repeats 7] [--json]

Both plan batches of 16 identities x 4 images over the same rows. Ours plans an epoch of 1,000 batches. Reference: the
random identity sampler that re-ID code bases share, written here from its published behaviour: each epoch the images of
an identity are shuffled and cut into groups of 4 (with fewer than 4, drawn with replacement), then 16 identities with
groups left are drawn again and again, until fewer than 16 have any. It knows no cameras, weights or resume. Times are
of one processor and compared by the batch, since the reference's epoch has as many batches as its groups make.
Claimed: 1,000 batches over 100,000 rows in under 0.5 s.
"""

import argparse
import json
import os
import random
import statistics
import time
from typing import Any

import numpy as np

from resight.datasets.sampler import Plan, SamplerConfig, SourceRows, make_plan

P, K, STEPS = 16, 4, 1000


def make_rows(rows: int, ids: int) -> SourceRows:
    """Identities of 1 to about 30 images, six cameras."""
    rng = np.random.default_rng(0)
    pid = rng.integers(0, ids, rows)
    return SourceRows(weight=1, pid=pid, camid=rng.integers(0, 6, rows), outfit=pid)


def usual(pids: list[int], rng: random.Random) -> list[list[int]]:
    """Return the batches of an epoch, as the usual sampler makes them."""
    images: dict[int, list[int]] = {}
    for row, pid in enumerate(pids):
        images.setdefault(pid, []).append(row)
    groups: dict[int, list[list[int]]] = {}
    for pid, rows in images.items():
        pool = list(rows) if len(rows) >= K else rng.choices(rows, k=K)
        rng.shuffle(pool)
        groups[pid] = [pool[at : at + K] for at in range(0, len(pool) - K + 1, K)]
    left, batches = list(groups), []
    while len(left) >= P:
        chosen = rng.sample(left, P)
        batches.append([row for pid in chosen for row in groups[pid].pop(0)])
        empty = {pid for pid in chosen if not groups[pid]}
        if empty:
            left = [pid for pid in left if pid not in empty]
    return batches


def measure(rows: SourceRows, repeats: int) -> dict[str, Any]:
    config = SamplerConfig(ids_per_batch=P, images_per_id=K, steps_per_epoch=STEPS)
    plan: Plan = make_plan([rows], config, seed=0)
    plan.epoch(0)  # compiles
    pids, rng = rows.pid.tolist(), random.Random(0)
    ours: list[float] = []
    theirs: list[float] = []
    batches = 0
    for epoch in range(1, repeats + 1):
        start = time.process_time()
        plan.epoch(epoch)
        between = time.process_time()
        batches = len(usual(pids, rng))
        ours.append((between - start) / STEPS)
        theirs.append((time.process_time() - between) / batches)
    return {
        "usual / ours, by the batch": spread([b / a for a, b in zip(ours, theirs, strict=True)]),
        "ours, s for 1,000 batches": spread([1000 * value for value in ours]),
        "usual, s for 1,000 batches": spread([1000 * value for value in theirs]),
        "batches in the usual epoch": batches,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--ids", type=int, default=8_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = measure(make_rows(options.rows, options.ids), options.repeats)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{name:28} {value['median']:8.3f}  ({value['min']:.3f} to {value['max']:.3f})")
        else:
            print(f"{name:28} {value:8d}")


if __name__ == "__main__":
    main()
