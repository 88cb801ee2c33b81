"""Searching a gallery by cells, against the exact search of the same index.

    python benchmarks/search.py [--images 100000] [--queries 500] [--repeats 3] [--json]

An index on disk of synthetic people (17 images each, 768 numbers), its cells made by `resight index --cells auto`, and
queries of the same people that are not in it; vectors lie in the system's page cache. One process on one core with one
thread, processor time. Recall is against the exact search: @1 is the share of queries whose nearest image is found, @10
the mean share of the ten nearest. `one by one` gives each query a search of its own, `at once` gives all to one search,
where the exact one reads each vector for 64 queries and not for one. Each ratio is of the same round of one run.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from dense_neighbourhoods import make_features
from threadpoolctl import threadpool_limits

from resight.trainers.gallery.change import add_features
from resight.trainers.gallery.features import FeatureCard, write_features
from resight.trainers.gallery.index import GalleryIndex, open_index
from resight.trainers.gallery.partition import Partitioned, make_cells
from resight.trainers.gallery.provenance import Model
from resight.trainers.gallery.search import search

PROBES, TOP, SINGLE = (1, 2, 4, 8, 16, 32, 64, 128), 10, 20


def indexed(folder: Path, vectors: np.ndarray) -> Path:
    """An index of some vectors."""
    count, dim = vectors.shape
    numbers = pa.array(np.zeros(count, np.int64))
    columns = {
        "key": pa.array([f"{row:09d}" for row in range(count)]),
        "role": pa.array(["person"] * count).dictionary_encode(),
        "pid": numbers,
        "camid": numbers,
        "feature": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
    }
    model = Model(checkpoint="/", sha256="0" * 64, fingerprint="0" * 64, dim=dim)
    card = FeatureCard(model=model, dataset="made", data="/", data_sha256="0" * 64, splits=(), rows=count)
    table = pa.table(columns)
    write_features(folder / "made.parquet", [table.slice(at, 8192) for at in range(0, count, 8192)], card)
    add_features([folder / "made.parquet"], folder / "index")
    return folder / "index"


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def one_round(index: GalleryIndex, query: np.ndarray, probes: tuple[int | None, ...]) -> dict[int | None, Any]:
    """Probes -> seconds a query one by one, at once, and what was found."""
    found: dict[int | None, Any] = {}
    for wanted in probes:
        single, _ = seconds(lambda n=wanted: [search(index, query[i : i + 1], TOP, probes=n) for i in range(SINGLE)])
        batch, hits = seconds(lambda n=wanted: search(index, query, TOP, probes=n))
        found[wanted] = (single / SINGLE, batch / len(query), hits)
    return found


def measure(images: int, queries: int, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        vectors = make_features(images + queries)
        path = indexed(Path(folder), vectors[:images])
        training, made = seconds(lambda: make_cells(path))
        opening, index = seconds(lambda: open_index(path))
        probes = (None, *(number for number in PROBES if number <= made.cells))
        rounds = [one_round(index, vectors[images:], probes) for _ in range(repeats + 1)][1:]  # the first one warms up
        rows = [{"probes": number, **judged(rounds, number)} for number in probes]
    return {**of(made), "queries": queries, "training_s": training, "opening_s": opening, "rows": rows}


def of(made: Partitioned) -> dict[str, int]:
    return {"images": made.images, "cells": made.cells, "largest": made.largest}


def judged(rounds: list[dict[int | None, Any]], probes: int | None) -> dict[str, Any]:
    exact, found = rounds[0][None][2], rounds[0][probes][2]
    common = [len(np.intersect1d(a, b)) / TOP for a, b in zip(exact.positions, found.positions, strict=True)]
    return {
        "compared": float(found.compared.mean() / exact.compared.mean()),
        "recall@1": float((exact.positions[:, 0] == found.positions[:, 0]).mean()),
        "recall@10": float(np.mean(common)),
        "one_by_one_ms": statistics.median(1000 * each[probes][0] for each in rounds),
        "at_once_ms": statistics.median(1000 * each[probes][1] for each in rounds),
        "one_by_one": spread([each[None][0] / each[probes][0] for each in rounds]),
        "at_once": spread([each[None][1] / each[probes][1] for each in rounds]),
    }


def spread(found: list[float]) -> list[float]:
    """The smallest, median and largest."""
    return [min(found), statistics.median(found), max(found)]


def show(result: dict[str, Any]) -> None:
    print("{images:,} images in {cells:,} cells, at most {largest:,} in one; {queries} queries".format(**result))
    print("making cells {training_s:.1f} s, opening {opening_s:.2f} s; then exact / by cells:".format(**result))
    print("probes  compared  recall@1  recall@10  one by one                         at once")
    for row in result["rows"]:
        words = "{1:6.1f} x ({0:.1f} to {2:.1f})"
        single, batch = (words.format(*row[name]) for name in ("one_by_one", "at_once"))
        print(
            f"{row['probes'] or 'exact':>6}  {100 * row['compared']:6.2f} %  {row['recall@1']:8.3f}  "
            f"{row['recall@10']:9.3f}  {row['one_by_one_ms']:7.2f} ms {single:26} {row['at_once_ms']:7.2f} ms {batch}"
        )
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = measure(options.images, options.queries, options.repeats)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
