"""Evaluation against what it cannot beat, the matrix product alone, and against sorting every row.

    python benchmarks/evaluation.py [--threads 1] [--repeats 5] [--json] [--crossover]

Features are synthetic (identity, camera and noise, unit length) at the size of Market-1501: 3,368 x 15,913 x 768. Each
repeat times, one after the other in the same process and with the same number of threads (CPU time too, which a busy
machine spoils less; with several threads it counts their waiting):
  product    numpy's float32 query @ gallery.T into memory that is already there
  evaluate   metrics.evaluate from the features                       -> ratio to the product
  sorting    argsort and cumulative sums over chunks of a given matrix, all in numpy
  given      metrics.evaluate_distances from the same matrix          -> ratio to sorting
Memory is the peak resident size of a child process above what it held before, after a small warm-up.
`--crossover` prints where searching the sorted right answers overtakes counting (`kernels.COUNT_UP_TO`).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from resight.trainers.retrieval import kernels
from resight.trainers.retrieval.metrics import evaluate, evaluate_distances

SIZES = {"market": (3368, 15913), "double": (6736, 31826)}
DIM = 768

Data = tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def make_data(num_queries: int, num_gallery: int, *, seed: int = 0) -> Data:
    """Features and (query pids, gallery pids, query cameras, gallery cameras): 750 people and 18 % distractors."""
    rng = np.random.default_rng(seed)
    num_ids = 750 * num_queries // 3368
    pids = rng.integers(0, num_ids, num_queries), rng.integers(0, num_ids, num_gallery)
    pids[1][rng.random(num_gallery) < 0.18] = -2
    cameras = rng.integers(0, 6, num_queries), rng.integers(0, 6, num_gallery)
    people, places = (rng.standard_normal((num, DIM), dtype=np.float32) for num in (num_ids, 6))
    sides: list[np.ndarray] = []
    for pid, camera in zip(pids, cameras, strict=True):
        features = 1.5 * rng.standard_normal((len(pid), DIM), dtype=np.float32)
        features += people[np.maximum(pid, 0)] * (pid >= 0)[:, None].astype(np.float32) + 0.7 * places[camera]
        sides.append(features / np.linalg.norm(features, axis=1, keepdims=True))
    return sides[0], sides[1], (*pids, *cameras)


def sorting_map(distances: np.ndarray, labels: tuple[np.ndarray, ...], *, chunk: int = 256) -> float:
    """MAP by sorting: the usual evaluator, vectorised."""
    query_pids, gallery_pids, query_cameras, gallery_cameras = labels
    total, scored = 0.0, 0
    for first in range(0, len(distances), chunk):
        part = slice(first, first + chunk)
        order = np.argsort(distances[part], axis=1)
        same = gallery_pids[order] == query_pids[part, None]
        kept = ~(same & (gallery_cameras[order] == query_cameras[part, None]))
        hits = same & kept
        found, rank = np.cumsum(hits, axis=1), np.cumsum(kept, axis=1)
        precision = np.where(hits, found / np.maximum(rank, 1), 0).sum(axis=1)
        there = found[:, -1] > 0
        total += float((precision[there] / found[there, -1]).sum())
        scored += int(there.sum())
    return total / scored


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure_speed(threads: int, repeats: int) -> dict[str, Any]:
    query, gallery, labels = make_data(*SIZES["market"])
    product = np.empty((len(query), len(gallery)), np.float32)
    seconds: dict[str, list[float]] = {"product": [], "evaluate": [], "sorting": [], "given": []}
    cpu: dict[str, list[float]] = {name: [] for name in seconds}
    found: dict[str, float] = {}
    with threadpool_limits(threads, user_api="blas"):
        first_call, _ = timed(
            lambda: evaluate(query[:64], gallery, labels[0][:64], labels[1], labels[2][:64], labels[3])
        )
        np.matmul(query, gallery.T, out=product)
        distances = 1 - product
        evaluate_distances(distances[:64], labels[0][:64], labels[1], labels[2][:64], labels[3])
        for repeat in range(repeats):
            works: dict[str, Callable[[], Any]] = {
                "product": lambda: np.matmul(query, gallery.T, out=product),
                "evaluate": lambda: evaluate(query, gallery, *labels, threads=threads).mAP,
                "given": lambda: evaluate_distances(distances, *labels, threads=threads).mAP,
                "sorting": lambda: sorting_map(distances, labels),
            }
            for name, work in works.items():
                if name == "sorting" and repeat >= 3:
                    continue  # seconds each; three show the spread
                busy = time.process_time()
                spent, value = timed(work)
                cpu[name].append(time.process_time() - busy)
                seconds[name].append(spent)
                if name != "product":
                    found[name] = value
    pairs = (("evaluate", "product"), ("sorting", "given"))
    ratios = {
        f"{one} / {other}{unit}": [a / b for a, b in zip(taken[one], taken[other], strict=False)]
        for unit, taken in (("", seconds), (", CPU", cpu))
        for one, other in pairs
    }
    return {
        "first call, seconds": first_call,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "ratios": {name: spread(values) for name, values in ratios.items()},
        "mAP": found,
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def resident(field: str) -> int:
    """Resident memory in bytes: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def measure_own_memory(size: str, threads: int) -> dict[str, int]:
    """In a fresh process: the peak above what inputs, code and a small warm-up hold."""
    query, gallery, labels = make_data(*SIZES[size])
    part = (labels[0][:64], labels[1][:64], labels[2][:64], labels[3][:64])
    evaluate(query[:64], gallery[:64], *part, max_skipped=0.999, threads=threads)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    evaluate(query, gallery, *labels, threads=threads)
    return {"extra": resident("VmHWM") - before, "queries": len(query), "gallery": len(gallery)}


def measure_memory(threads: int) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for size in SIZES:
        words = [sys.executable, __file__, "--memory-of", size, "--threads", str(threads)]
        found[size] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def crossover() -> list[dict[str, float]]:
    """Microseconds for one row by counting and by searching."""
    rng = np.random.default_rng(0)
    found: list[dict[str, float]] = []
    for size in (2000, 15913, 82161):
        row = rng.standard_normal(size).astype(np.float32)
        for num in (32, 128, 512, 1024):
            positives = rng.choice(size, num, replace=False)
            positives, ranks = positives[np.argsort(row[positives])], np.empty(num, np.int64)
            entry: dict[str, float] = {"gallery": size, "positives": num}
            for name, kernel in (("count", kernels.count_ranks), ("search", kernels.search_ranks)):
                kernel(row, positives, ranks)
                entry[name] = 1e6 * min(
                    timed(lambda k=kernel, p=positives, r=ranks, w=row: k(w, p, r))[0] for _ in range(20)
                )
            found.append(entry)
    return found


def show(result: dict[str, Any]) -> None:
    for name, value in result["ratios"].items():
        print(f"{name:24} {value['median']:6.2f}  ({value['min']:.2f} to {value['max']:.2f})")
    for name, value in result["seconds"].items():
        print(f"{name:22} {value['median']:6.3f} s  ({value['min']:.3f} to {value['max']:.3f})")
    for size, memory in result["memory"].items():
        shape = f"{memory['queries']} x {memory['gallery']}"
        print(f"memory, {size:14} {memory['extra'] / 2**20:6.1f} MiB above inputs and warm-up at {shape} x {DIM}")
    print(f"first call             {result['first call, seconds']:6.3f} s with {result['threads']} threads")
    print(f"mAP                    {result['mAP']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--crossover", action="store_true")
    parser.add_argument("--memory-of", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(measure_own_memory(options.memory_of, options.threads)))
    elif options.crossover:
        print(json.dumps(crossover(), indent=1))
    else:
        result = {**measure_speed(options.threads, options.repeats), "threads": options.threads}
        result["memory"] = measure_memory(options.threads)
        if options.json:
            print(json.dumps(result, indent=1))
        else:
            show(result)


if __name__ == "__main__":
    main()
