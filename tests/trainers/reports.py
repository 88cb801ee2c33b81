"""Run folders as files, for tests of pages that are made from them, and a reader of pages."""

import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resight.trainers.config import with_overrides
from resight.trainers.recipes import recipe
from resight.trainers.run_folder import RunFolder

QUERIES = [f"q{number}" for number in range(8)]
"""Two queries for each of four people."""


def write_run(
    path: Path,
    *,
    ap: Mapping[str, Sequence[float | None]],
    overrides: Mapping[str, Any] | None = None,
    shown: Sequence[int] = range(8),
    protocol: str = "market1501",
    scoring: Mapping[str, Any] | None = None,
    sha: str = "0" * 64,
    keys: Sequence[str] = QUERIES,
    maps: bool = False,
) -> Path:
    """Write a run judged on each data set in `ap`, which holds the average precision of every query."""
    run = RunFolder(path)
    run.write_config(with_overrides(recipe("strong_baseline", "tiny"), dict(overrides or {})))
    run.write_environment({"python": "3.11", "cores": 2, "packages": {"torch": "2.14"}, "workers": 1, "command": ["x"]})
    for name, values in ap.items():
        folder = path / "evaluations" / name
        (folder / "crops").mkdir(parents=True)
        scored = [value for value in values if value is not None]
        mean = sum(scored) / len(scored)
        metrics = {"mAP": mean, "mINP": mean / 3, "rank1": mean, "rank5": 1.0, "rank10": 1.0, "queries": len(values)}
        _json(folder / "evaluation.json", {
            "dataset": name, "protocol": protocol, "data_sha256": sha, "metrics": {**metrics, "skipped": {}},
            "cmc": [0.5, 0.6, 1.0], "interval": {"mAP": [mean - 0.1, mean + 0.1]}, "baselines": {},
            **({"scoring": dict(scoring)} if scoring else {}),
        })  # fmt: skip
        _json(folder / "rankings.json", [ranking(folder, keys[place], place, "worst", {1}) for place in shown])
        _per_query(folder / "per_query.parquet", values, keys)
        if maps:
            write_maps(folder, [keys[place] for place in shown])
    return path


def ranking(folder: Path, key: str, number: int, kind: str, hits: set[int]) -> dict[str, Any]:
    """An entry of rankings.json with ten answers, right at the places in `hits`, and its crops."""
    query = {"key": key, "pid": number, "camid": 0, "outfit": 1, "crop": _crop(folder, key, number)}
    results = [
        {"key": f"g{number}_{place}", "pid": number if place in hits else 99, "camid": 1, "outfit": 2,
         "distance": 0.3 + 0.05 * place, "correct": place in hits, "crop": _crop(folder, f"g{number}_{place}", place)}
        for place in range(10)
    ]  # fmt: skip
    return {"query": query, "ap": 0.1 * len(hits), "first_hit": min(hits, default=30), "results": results, "kind": kind}


def write_maps(folder: Path, keys: Sequence[str]) -> None:
    """Maps of the queries and of their first answers: all looks at the upper half."""
    (folder / "maps").mkdir()
    plane = np.repeat(np.array([[255], [0]], np.uint8), 2, axis=1)
    shown = {found["query"]["key"]: found for found in json.loads((folder / "rankings.json").read_text())}
    every = [image["key"] for key in keys for image in (shown[key]["query"], shown[key]["results"][0])]
    for key in every:
        cv2.imwrite(str(folder / f"maps/{key}.png"), plane)
    _json(
        folder / "maps.json", {"legend": "Bright <where> it looks.", "maps": {key: f"maps/{key}.png" for key in every}}
    )


def steps(
    count: int, *, attempt: int = 1, first: int = 1, begin: float = 100.0, **facts: float
) -> list[dict[str, Any]]:
    """Step events one second apart."""
    return [
        {"event": "step", "time": begin + step - first + 1, "attempt": attempt, "rank": 0, "epoch": (step - 1) // 50,
         "step": step, "losses": {"id": 6.0 / step, "triplet": 2.0 / step}, "total": 8.0 / step, "lr": 1e-3,
         "images_per_s": 64.0, **facts}
        for step in range(first, first + count)
    ]  # fmt: skip


def write_events(run: Path, events: Sequence[Mapping[str, Any]]) -> None:
    """Write events.jsonl."""
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


class Page(HTMLParser):
    """What a reader finds in a page: headings, tables as rows of words, pictures' alternative texts.

    Attributes:
        headings: words of h1, h2, h3 and summary, in order.
        tables: by the classes of the table, rows of cells.
        pictures: (class of the figure, alternative text, data).
        tags: how often each tag was opened.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.pictures: list[tuple[str, str, str]] = []
        self.tags: dict[str, int] = {}
        self._cell: list[str] | None = None
        self._heading: list[str] | None = None
        self._rows: list[list[str]] = []
        self._figure = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag == "table":
            self._rows = self.tables.setdefault(found.get("class") or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag in ("h1", "h2", "h3", "summary"):
            self._heading = []
        elif tag == "figure":
            self._figure = found.get("class") or ""
        elif tag == "img":
            self.pictures.append((self._figure, found.get("alt") or "", found.get("src") or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self._rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag in ("h1", "h2", "h3", "summary") and self._heading is not None:
            self.headings.append(" ".join("".join(self._heading).split()))
            self._heading = None

    def handle_data(self, data: str) -> None:
        for target in (self._cell, self._heading):
            if target is not None:
                target.append(data)


def _crop(folder: Path, name: str, seed: int) -> str:
    picture = np.random.default_rng(seed).integers(0, 255, (8, 4, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / f"crops/{name}.jpg"), cv2.resize(picture, (64, 128), interpolation=cv2.INTER_CUBIC))
    return f"crops/{name}.jpg"


def _per_query(path: Path, ap: Sequence[float | None], keys: Sequence[str]) -> None:
    columns = {
        "key": list(keys),
        "pid": [place // 2 for place in range(len(keys))],
        "ap": pa.array(ap, pa.float64()),
        "inp": pa.array([None if value is None else value / 2 for value in ap], pa.float64()),
        "first_hit": pa.array([None if value is None else 1 if value > 0.5 else 2 for value in ap], pa.int64()),
    }
    pq.write_table(pa.table(columns), path)


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
