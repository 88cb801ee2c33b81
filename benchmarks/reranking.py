"""k-reciprocal re-ranking: sparse, against the dense formulation that is published.

    python benchmarks/reranking.py [--size small | market] [--repeats 3] [--json]

Each measurement is a process of its own with one thread, from features of 768 dimensions to final distances. The
reference (`dense_neighbourhoods.py`) computes and sorts all distances among queries and gallery: at the size of
Market-1501, 3,368 x 15,913, it takes about 8 GiB. k1 = 20, k2 = 6, weight 0.3. Time is processor time, memory the peak
above features and a small warm-up; the result itself, 204 MiB at that size, is in both. `blocks` is what an evaluation
does: the same distances, a block of queries at a time, each gone when the next is asked for.
Claimed at the size of Market-1501: 5 times as fast in a tenth of the memory, and equal to 1e-5 to the dense formulation
in float64 (about 12 GiB at that size, not timed). The dense one in float32 differs from it more: where two neighbours
are nearly equally far its products' rounding decides which is the k-th, and that changes whole neighbourhoods. How far
either is from float64, and at what share of pairs by more than 1e-5, is printed.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from dense_neighbourhoods import child, make_features, measured
from dense_neighbourhoods import rerank as dense_rerank

from resight.trainers.retrieval.neighbours import neighbours
from resight.trainers.retrieval.reranking import RerankConfig, rerank, reranked_rows

SIZES = {"small": (850, 4000), "market": (3368, 15913)}
CONFIG = RerankConfig()
TOLERANCE = 1e-5


def own_measurement(kind: str, size: str, folder: Path) -> dict[str, Any]:
    """In a fresh process."""
    num_queries, num_gallery = SIZES[size]
    features = make_features(num_queries + num_gallery).astype(np.float64 if kind == "exact" else np.float32)
    query, gallery = features[:num_queries], features[num_queries:]

    def work(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        if kind != "sparse":
            return dense_rerank(query, gallery, CONFIG.k1, CONFIG.k2, CONFIG.weight)
        return rerank(query, gallery, CONFIG, threads=1)

    def sweep(features: np.ndarray, num_queries: int) -> None:
        for _ in reranked_rows(features, num_queries, CONFIG, threads=1).blocks():
            pass

    if kind == "blocks":
        sweep(features[:600], 100)
        return measured(lambda: sweep(features, num_queries))[0]
    work(query[:100], gallery[:500])
    found, final = measured(lambda: work(query, gallery))
    np.save(folder / f"{kind}.npy", final)
    if kind == "sparse":
        both = np.concatenate([query, gallery])
        found["search"] = measured(lambda: neighbours(both, CONFIG.k1 + 1, threads=1))[0]["cpu"]
    return found


def measure(size: str, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        kept: dict[str, list[dict[str, Any]]] = {"dense": [], "sparse": [], "blocks": []}
        for repeat in range(repeats):
            for kind, found in kept.items():
                if kind != "dense" or repeat < 2:
                    found.append(child(__file__, "--measure", kind, "--size", size, "--folder", folder))
        child(__file__, "--measure", "exact", "--size", size, "--folder", folder)
        exact, *others = (np.load(Path(folder) / f"{kind}.npy", mmap_mode="r") for kind in ("exact", "dense", "sparse"))
        apart = {kind: distance_between(exact, other) for kind, other in zip(("dense", "sparse"), others, strict=True)}
    ratios = {
        f"dense / sparse, {name}": quotients([f[key] for f in kept["dense"]], [f[key] for f in kept["sparse"]])
        for name, key in (("time", "cpu"), ("memory", "extra"))
    }
    return {"size": SIZES[size], "ratios": ratios, "values": kept, "from float64": apart}


def distance_between(exact: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """The largest difference, and the share of pairs that differ by more than the tolerance."""
    rows = [np.abs(a - b) for a, b in zip(exact, other, strict=True)]
    return {"largest": float(np.max(rows)), "share": float(np.mean([(row > TOLERANCE).mean() for row in rows]))}


def quotients(above: list[float], below: list[float]) -> list[float]:
    """Pair by pair, the smallest, median and largest."""
    found = [one / other for one, other in zip(above, below, strict=False)]
    return [min(found), statistics.median(found), max(found)]


def show(result: dict[str, Any]) -> None:
    for name, (least, middle, most) in result["ratios"].items():
        print(f"{name:28} {middle:7.2f}  ({least:.2f} to {most:.2f})")
    for name, found in result["values"].items():
        seconds, extra = (statistics.median(each[key] for each in found) for key in ("cpu", "extra"))
        print(f"{name:28} {seconds:7.2f} s, {extra / 2**20:.0f} MiB above features")
    search = statistics.median(each["search"] for each in result["values"]["sparse"])
    print(f"{'of which search':28} {search:7.2f} s")
    print("queries x gallery            {} x {}".format(*result["size"]))
    for name, found in result["from float64"].items():
        share = f"{100 * found['share']:.5f} % of pairs by more than {TOLERANCE:.0e}"
        print(f"{name} from float64".ljust(28), f"at most {found['largest']:.1e}, {share}")
    print(f"load of the machine          {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", choices=("dense", "sparse", "blocks", "exact"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(own_measurement(options.measure, options.size, options.folder)))
        return
    result = measure(options.size, options.repeats)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
