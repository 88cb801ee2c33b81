"""What the sparse neighbourhoods are measured against: the usual dense formulations, written here from what they do.

`jaccard` is that of SpCL's published NumPy code after its search: a dense V, a loop over rows for the sets, a loop over
each row's entries for the sums. `rerank` is Zhong et al. 2017's: all distances, all of them sorted, a dense V. Also the
features that all of it is measured on, and how a child process measures itself.
"""

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RANK, CAMERAS, IMAGES_PER_ID = 48, 6, 17


def make_features(count: int, dim: int = 768, *, seed: int = 0, noise: float = 0.75) -> np.ndarray:
    """Unit rows: an identity in a subspace of rank 48, its camera, own noise there and in every direction."""
    rng = np.random.default_rng(seed)
    people = max(2, count // IMAGES_PER_ID)
    basis = rng.standard_normal((RANK, dim), dtype=np.float32) / np.sqrt(np.float32(dim))
    who, where = rng.integers(0, people, count), rng.integers(0, CAMERAS, count)
    identity = rng.standard_normal((people, RANK), dtype=np.float32)
    camera = np.float32(0.3) * rng.standard_normal((CAMERAS, RANK), dtype=np.float32)
    features = np.empty((count, dim), np.float32)
    for at in range(0, count, 4096):
        part = slice(at, at + 4096)
        inside = identity[who[part]] + camera[where[part]]
        inside += np.float32(noise) * rng.standard_normal(inside.shape, dtype=np.float32)
        rows = inside @ basis + np.float32(0.1) * rng.standard_normal((len(inside), dim), dtype=np.float32)
        features[part] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return features


def mutual(nearest: np.ndarray, i: int, columns: int) -> np.ndarray:
    forward = nearest[i, :columns]
    return forward[np.where(nearest[forward, :columns] == i)[0]]


def widened(nearest: np.ndarray, i: int, core: np.ndarray, half: list[np.ndarray]) -> np.ndarray:
    members = core
    for candidate in core:
        other = half[candidate]
        if len(np.intersect1d(other, core)) > 2 / 3 * len(other):
            members = np.append(members, other)
    return np.unique(members)


def expanded(weights: np.ndarray, nearest: np.ndarray, k2: int) -> np.ndarray:
    found = np.zeros_like(weights)
    for i in range(len(weights)):
        found[i] = weights[nearest[i, :k2]].mean(axis=0)
    return found


def overlap(weights: np.ndarray, holders: list[np.ndarray], i: int) -> np.ndarray:
    total = np.zeros(len(weights), np.float32)
    for column in np.where(weights[i] != 0)[0]:
        who = holders[column]
        total[who] += np.minimum(weights[i, column], weights[who, column])
    return total


def jaccard(features: np.ndarray, nearest: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """(N, N) distances from a table of neighbours."""
    count = len(features)
    half_columns = int(np.around(k1 / 2)) + 1
    core = [mutual(nearest, i, k1) for i in range(count)]
    half = [mutual(nearest, i, half_columns) for i in range(count)]
    weights = np.zeros((count, count), np.float32)
    for i in range(count):
        members = widened(nearest, i, core[i], half)
        value = np.exp(2 * features[i] @ features[members].T - 2)
        weights[i, members] = value / value.sum()
    weights = expanded(weights, nearest, k2)
    holders = [np.where(weights[:, i] != 0)[0] for i in range(count)]
    distances = np.zeros((count, count), np.float32)
    for i in range(count):
        total = overlap(weights, holders, i)
        distances[i] = 1 - total / (2 - total)
    return np.maximum(distances, 0, out=distances)


def rerank(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """(Q, G) final distances."""
    both, num = np.concatenate([query, gallery]), len(query)
    squares = np.square(both).sum(axis=1)
    distances = squares[:, None] + squares - 2 * both @ both.T
    distances = np.transpose(distances / np.max(distances, axis=0))
    order = np.argsort(distances).astype(np.int32)
    count, half_columns = len(both), int(np.around(k1 / 2)) + 1
    half = [mutual(order, i, half_columns) for i in range(count)]
    weights = np.zeros_like(distances, dtype=np.float32)
    for i in range(count):
        members = widened(order, i, mutual(order, i, k1 + 1), half)
        value = np.exp(-distances[i, members])
        weights[i, members] = value / value.sum()
    distances = distances[:num]
    weights = expanded(weights, order, k2)
    holders = [np.where(weights[:, i] != 0)[0] for i in range(count)]
    found = np.zeros_like(distances, dtype=np.float32)
    for i in range(num):
        total = overlap(weights, holders, i)
        found[i] = 1 - total / (2 - total)
    final = found * (1 - weight) + distances * weight
    return final[:, num:]


def resident(field: str) -> int:
    """Resident memory in bytes: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def measured(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Processor seconds, elapsed seconds, and the peak of memory above what was held before, in bytes.

    What a warm-up had and gave up is handed back to the system first: used again, it would be memory nobody counts.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, start, busy = resident("VmRSS"), time.perf_counter(), time.process_time()
    result = work()
    spent = {"cpu": time.process_time() - busy, "clock": time.perf_counter() - start}
    return {**spent, "extra": resident("VmHWM") - before, "peak": resident("VmHWM")}, result


def child(script: str, *words: object) -> dict[str, Any]:
    """Run a part of a benchmark in a process of its own, which prints one JSON object."""
    told = subprocess.run([sys.executable, script, *map(str, words)], capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(told.stderr)
    return json.loads(told.stdout)
