"""A million images: Jaccard distance and DBSCAN over Ray workers, from a table of neighbours, in bounded memory.

    python benchmarks/million.py [--images 50000] [--workers 2] [--dim 64] [--by ray | threads] [--check] [--json]
    python benchmarks/million.py --search 0.01 --images 1000000 --dim 768

The table is made, not searched for: people are put into groups of 20 near each other, and the neighbours of an image
are the exact nearest of its group (340 images). `--check` clusters by one thread too, and compares the labels.
`--search` times the exact search on a share of its tiles and extrapolates. Memory is the sum over this process
and Ray's (proportional, so that what they share is counted once), twice a second, at its highest.
Claimed: a million images over 2 workers in at most 10 GiB; at 250,000 the labels of one process.
"""

import argparse
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from resight.cluster.session import ray_session
from resight.trainers.retrieval.blocks import feature_rows, lanes
from resight.trainers.retrieval.dbscan import dbscan
from resight.trainers.retrieval.jaccard import jaccard_graph
from resight.trainers.retrieval.neighbours import Neighbours, Tiles, neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig
from resight.trainers.retrieval.spread import RayTasks, Spread, Threads

K1, K2, EPS = 30, 6, 0.6
PEOPLE, IMAGES = 20, 17  # in a group, of a person


def planted(count: int, dim: int, seed: int = 0) -> tuple[np.ndarray, Neighbours]:
    """Unit features in groups, shuffled, and the neighbours that each has in its group."""
    rng = np.random.default_rng(seed)
    features = np.empty((count, dim), np.float32)
    table = Neighbours(np.empty((count, K1), np.int32), np.empty((count, K1), np.float32), np.empty(count, np.float32))
    place = rng.permutation(count).astype(np.int32)
    size = PEOPLE * IMAGES
    for first in range(0, count, size):
        own = place[first : min(first + size, count) if count - first >= 2 * size else count]
        people = rng.standard_normal(dim, dtype=np.float32) + rng.standard_normal((PEOPLE, dim), dtype=np.float32)
        rows = people[rng.integers(0, PEOPLE, len(own))]
        rows += np.float32(0.75) * rng.standard_normal(rows.shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        features[own] = rows
        near = neighbours(rows, K1, threads=1)
        table.nearest[own], table.distance[own], table.farthest[own] = own[near.nearest], near.distance, near.farthest
        if len(own) > size:
            break
    return features, table


class Memory:
    """The highest sum of proportional memory of processes of this session, in bytes."""

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look)

    def __enter__(self) -> "Memory":
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            self.peak = max(self.peak, sum(map(proportional, family(os.getpid()))))


def family(root: int) -> set[int]:
    """The process and all that descend from it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    found = {root}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def proportional(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def labelled(features: np.ndarray, table: Neighbours, spread: Spread) -> tuple[dict[str, float], np.ndarray]:
    start = time.perf_counter()
    graph = jaccard_graph(features, table, JaccardConfig(k1=K1, k2=K2), limit=EPS + 0.02, spread=spread)
    labels = dbscan(graph, EPS)
    return {"seconds": time.perf_counter() - start, "pairs": float(len(graph.value))}, labels


def cluster(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"images": options.images, "dim": options.dim, "by": options.by, "workers": options.workers}
    with Memory() as memory:
        start = time.perf_counter()
        features, table = planted(options.images, options.dim)
        found["making the table, seconds"] = time.perf_counter() - start
        small = planted(1000, options.dim)  # compiles, or loads what was compiled
        if options.by == "threads":
            labelled(*small, Threads(options.workers))
            spent, labels = labelled(features, table, Threads(options.workers))
        else:
            store = 256 + options.images * (8 * 400 + 4 * options.dim) // 2**20
            with ray_session(workers_cpus=options.workers, object_store_mib=store, address="local"):
                labelled(*small, RayTasks(options.workers))
                spent, labels = labelled(features, table, RayTasks(options.workers))
        found |= spent
    found |= {
        "memory, GiB": memory.peak / 2**30,
        "clusters": int(labels.max()) + 1,
        "noise": float((labels < 0).mean()),
    }
    if options.check:
        spent, alone = labelled(features, table, Threads(1))
        found |= {"one thread, seconds": spent["seconds"], "same labels": bool((labels == alone).all())}
    return found


def search(count: int, dim: int, share: float, threads: int) -> dict[str, Any]:
    """Time of the exact search, from a share of its tiles; features are noise, which costs the same.

    Tiles are taken at even steps from first to last, so that rows with few and with many neighbours yet are among them.
    """
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    tiles = Tiles(feature_rows(rows, rows, "squared_euclidean"), K1)
    places = list(tiles.places())
    wanted = places[:: max(1, round(1 / share))]
    with lanes(threads) as (pool, number):
        tiles.visit(0, 0, pool, number)  # compiled before the clock starts
        start = time.perf_counter()
        for top, left in wanted:
            tiles.visit(top, left, pool, number)
        seconds = time.perf_counter() - start
    return {
        "images": count,
        "dim": dim,
        "tiles": len(wanted),
        "share of all tiles": len(wanted) / len(places),
        "seconds": seconds,
        "whole, hours": seconds * len(places) / len(wanted) / 3600,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--by", choices=("ray", "threads"), default="ray")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--search", type=float, help="share of the tiles of the exact search to time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = search(options.images, options.dim, options.search, 1) if options.search else cluster(options)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        for name, value in result.items():
            print(f"{name:28} {value:.2f}" if isinstance(value, float) else f"{name:28} {value}")
        print(f"load of the machine          {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
