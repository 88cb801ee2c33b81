"""Run every benchmark and write what they print to one page.

    python benchmarks/run.py --out docs/benchmarks.md

Needs the demo's folder (`make demo`) for the comparison of resizing; says so and goes on when it is not there.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent

CLAIMS = {
    "Evaluation, one thread": ["evaluation.py", "--threads", "1"],
    "Evaluation, two threads": ["evaluation.py", "--threads", "2"],
    "Pseudo labels by Jaccard distance and DBSCAN": ["neighbourhoods.py", "--images", "12936"],
    "Pseudo labels, two threads": ["neighbourhoods.py", "--claim", "cores", "--images", "126441"],
    "Re-ranking": ["reranking.py", "--size", "market"],
    "Pseudo labels over Ray workers": ["million.py", "--images", "50000", "--check"],
    "Searching a gallery by cells": ["search.py"],
    "Planning identity batches": ["planning.py"],
    "Streaming from tars": ["streaming.py"],
    "Input pipeline": ["input_pipeline.py"],
    "Cached shards and decoded images": ["shard_cache.py"],
    "Packing": ["packing.py"],
    "Rendering": ["rendering.py"],
    "A training step of a vision transformer": ["vit_step.py"],
    "A training step with each performance field": ["training_step.py"],
    "Resizing by OpenCV and PIL": ["resizing.py"],
}
"""Title -> script and its arguments."""


def machine() -> str:
    cpu = next(
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    )
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "ray", "opencv-python-headless")
    )
    return (
        f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}; {time.strftime('%Y-%m-%d')}."
    )


def measured(words: list[str]) -> str:
    done = subprocess.run([sys.executable, str(HERE / words[0]), *words[1:]], capture_output=True, text=True)
    return done.stdout.rstrip() if done.returncode == 0 else f"not measured: {done.stderr.strip().splitlines()[-1]}"


def sections(path: Path) -> dict[str, str]:
    """Title -> what a page made before says under it."""
    text = path.read_text() if path.is_file() else ""
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in text.split("\n## ")[1:]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="SCRIPT", help="measure these, keep the page's other sections")
    options = parser.parse_args()
    kept = sections(options.out) if options.only else {}
    parts = [
        "# Benchmarks",
        "Written by `make bench`. What is claimed are ratios to a named reference in the same run, each where it says.",
    ]
    here = machine()
    for title, words in CLAIMS.items():
        if options.only and words[0] not in options.only:
            parts += [f"## {title}", kept[title]] if title in kept else []
            continue
        print(title, flush=True)
        command = f"`python benchmarks/{' '.join(words)}`"
        parts += [f"## {title}", f"{command}, {here}", f"```text\n{measured(words)}\n```"]
    options.out.write_text("\n\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
