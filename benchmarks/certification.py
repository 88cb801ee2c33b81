"""Is the rendered world a benchmark? Seven ways to recognise people, from nothing to the truth, on every split.

    python benchmarks/certification.py [--world small] [--body anny] [--seeds 0 1 2] [--epochs 64] [--out DIR]
                                       [--markdown] [--json]

For each seed and split the split is rendered, `strong_baseline --size tiny` is trained on its training part, and the
following are judged on its test part, people nobody saw, by mAP and rank-1 under the rules of Market-1501:
  chance      the expected value of a random order
  untrained   the trained network's architecture with fresh weights
  silhouette  the mask's outline
  pixels      the crop at 16 x 8 RGB
  histogram   hue and saturation of the person's pixels in 6 stripes
  trained     the network
  betas       the true shape coefficients: the ceiling
Asked, for every seed: a histogram has rank-1 of at least 0.5 on `base`, and mAP of at most 1.3 times chance on
`clothes`; silhouettes reach twice chance on `shape`; the network reaches three times chance and stays at or below 0.8
of the ceiling on every split; between any two seeds the seven come in the same order of mAP (Kendall's tau at least
0.8 on every split). Exit code 1 when one does not hold. Starting it again continues in `--out`, which takes 2 GB a
seed of `small` and half an hour on two cores; two starts with `--workers 1` and splits of their own, side by side,
are quicker than one with two workers. What was found stands in docs/concepts/world.md and, number by number, in
`benchmarks/certified`: `--out benchmarks/certified` prints the table from there.
Source of the last: pairwise ranking of algorithms as a test of synthetic data sets, arXiv:2209.05047.
"""

import argparse
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import kendalltau

from resight.cluster.pool import InProcess, Processes
from resight.datasets.dataset import Dataset, open_dataset
from resight.rendering.bodies import DEFAULT_BODY
from resight.rendering.draws import VERSION
from resight.rendering.render import render_world
from resight.rendering.splits import SPLITS
from resight.terminal import ProgressView
from resight.trainers.judging import judge_run
from resight.trainers.recipes import recipe
from resight.trainers.retrieval.protocol import MARKET1501
from resight.trainers.retrieval.sides import Sides, open_sides, score_features
from resight.trainers.train import train

WAYS = ("chance", "untrained", "silhouette", "pixels", "histogram", "trained", "betas")
Scores = dict[str, dict[str, dict[str, float]]]  # split -> way -> mAP and rank-1


def certify(seed: int, split: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Render, train and judge one split of one seed; read again what an earlier start had found."""
    home = options.out / f"{options.world}-{VERSION}-{Path(options.body).stem}-{seed}"
    told = home / f"{split}-{options.epochs}.json"
    if told.exists():
        return json.loads(told.read_text())
    with ProgressView() as view:
        render_world(
            options.world,
            seed=seed,
            out=home / "data",
            splits=[split],
            body=options.body,
            backend=Processes(workers=options.workers) if options.workers > 1 else InProcess(),
            progress=view,
        )
        data = home / "data" / split
        config = recipe("strong_baseline", "tiny")
        config = replace(
            config,
            seed=seed,
            data=replace(config.data, sources=(str(data),)),
            schedule=replace(config.schedule, period_epochs=options.epochs),
            run=replace(config.run, epochs=options.epochs),
        )
        out = home / f"run-{split}-{options.epochs}"
        backend = "ray" if options.workers > 1 else "local"
        run = train(config, out=out, workers=options.workers, backend=backend, resume="auto", progress=view)
        judged = judge_run(run.path, data, baselines=True, progress=view).to_dict()
    ways: dict[str, dict[str, Any]] = {"trained": {**judged["metrics"], "cmc": judged["cmc"]}, **judged["baselines"]}
    sides = open_sides(open_dataset(data), MARKET1501)
    ways |= {"pixels": scored(pixels(sides), sides), "betas": scored(betas(sides), sides)}
    found = {way: {"mAP": ways[way]["mAP"], "rank1": float(ways[way]["cmc"][0])} for way in WAYS}
    told.write_text(json.dumps(found, indent=1))
    return found


def scored(features: np.ndarray, sides: Sides) -> dict[str, Any]:
    metrics = score_features(features, sides, MARKET1501)
    return {"mAP": metrics.mAP, "cmc": metrics.cmc}


def pixels(sides: Sides) -> np.ndarray:
    """Small crops, brightness and contrast taken out."""
    data: Dataset = sides.dataset
    small = [cv2.resize(data.image(int(row)), (8, 16), interpolation=cv2.INTER_AREA) for row in sides.rows]
    flat = np.stack(small).reshape(len(small), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)


def betas(sides: Sides) -> np.ndarray:
    """The shape coefficients; one more number makes angles tell their lengths too."""
    found = sides.dataset.index.betas[sides.rows]
    return np.concatenate([found, np.ones((len(found), 1), np.float32)], axis=1)


def claims(seeds: dict[int, Scores]) -> list[tuple[str, float, bool]]:
    """What was asked, the worst that was seen, and whether that is enough."""
    found: list[tuple[str, float, bool]] = []

    def least(what: str, values: list[float], limit: float) -> None:
        found.append((f"{what}: at least {limit}", min(values), min(values) >= limit))

    def most(what: str, values: list[float], limit: float) -> None:
        found.append((f"{what}: at most {limit}", max(values), max(values) <= limit))

    def ratios(split: str, way: str, other: str) -> list[float]:
        return [scores[split][way]["mAP"] / scores[split][other]["mAP"] for scores in seeds.values()]

    splits = next(iter(seeds.values()))
    if "base" in splits:
        least("base, histogram, rank-1", [scores["base"]["histogram"]["rank1"] for scores in seeds.values()], 0.5)
    if "clothes" in splits:
        most("clothes, histogram / chance, mAP", ratios("clothes", "histogram", "chance"), 1.3)
    if "shape" in splits:
        least("shape, silhouette / chance, mAP", ratios("shape", "silhouette", "chance"), 2.0)
    for split in splits:
        least(f"{split}, trained / chance, mAP", ratios(split, "trained", "chance"), 3.0)
        most(f"{split}, trained / betas, mAP", ratios(split, "trained", "betas"), 0.8)
        taus = [tau(one[split], other[split]) for one, other in combinations(seeds.values(), 2)]
        if taus:
            least(f"{split}, order of the seven, tau", taus, 0.8)
    return found


def tau(one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> float:
    orders = [[scores[way]["mAP"] for way in WAYS] for scores in (one, other)]
    found: Any = kendalltau(*orders)
    return float(found.statistic)


def table(seeds: dict[int, Scores]) -> list[list[str]]:
    """One row a split: mAP in % as the middle of the seeds, with the least and the most."""
    rows = [["split", *WAYS]]
    for split in next(iter(seeds.values())):
        values = {way: sorted(100 * scores[split][way]["mAP"] for scores in seeds.values()) for way in WAYS}
        rows.append([split, *(f"{np.median(v):.1f} ({v[0]:.1f} to {v[-1]:.1f})" for v in values.values())])
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="small")
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), choices=SPLITS)
    parser.add_argument("--body", default=DEFAULT_BODY)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("certification"))
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.out = options.out.absolute()
    seeds = {seed: {split: certify(seed, split, options) for split in options.splits} for seed in options.seeds}
    found = claims(seeds)
    if options.json:
        print(json.dumps({"scores": seeds, "claims": found}, indent=1))
    else:
        rows = table(seeds)
        if options.markdown:
            rows.insert(1, ["---"] * len(rows[0]))
        for row in rows:
            print("| " + " | ".join(row) + " |" if options.markdown else "".join(cell.ljust(22) for cell in row))
        for what, value, holds in found:
            print(f"{'holds' if holds else 'FAILS'}  {what}: {value:.2f}")
    return 0 if all(holds for _, _, holds in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
