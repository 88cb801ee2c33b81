"""The README's commands and Python lines run as they stand, on a small data set in Market-1501's layout."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
QUICK = ["--size", "tiny", "--run.epochs", "1", "--model.width", "4", "--sampler.ids-per-batch", "4", "--quiet"]


def market_tree(root: Path, *, ids: int = 8) -> Path:
    """People of one colour each, seen by two cameras: train, query and gallery."""
    rng = np.random.default_rng(0)
    folders = {"bounding_box_train": (2, 4), "query": (40, 1), "bounding_box_test": (40, 4)}
    for folder, (first, frames) in folders.items():
        (root / folder).mkdir(parents=True)
        for pid in range(first, first + ids):
            colour = np.random.default_rng(pid).integers(0, 255, 3)
            for camera in (1, 2):
                for frame in range(frames):
                    image = np.clip(colour + rng.normal(0, 20, (128, 64, 3)), 0, 255).astype(np.uint8)
                    name = f"{pid:04d}_c{camera}s1_{frame:06d}_{frame:02d}.jpg"
                    (root / folder / name).write_bytes(simplejpeg.encode_jpeg(image, quality=90))
    return root


def commands() -> list[list[str]]:
    """The indented commands under "three commands", then `resight report`."""
    block = README.split("in three commands")[1].split("Any folder")[0]
    lines = re.findall(r"(?:^    |`)(resight [^`\n]*)", block, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the README's commands have run."""
    folder = tmp_path_factory.mktemp("readme")
    market_tree(folder / "Market-1501-v15.09.15")
    for words in commands():
        words = [word.replace("~/data/", f"{folder}/") for word in words[1:]] + (QUICK if words[1] == "train" else [])
        done = subprocess.run([sys.executable, "-m", "resight", *words], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
    return folder


def test_readme_has_the_whole_way(folder: Path) -> None:
    assert [words[1] for words in commands()] == ["pack", "train", "evaluate", "report"]
    assert (folder / "runs/market/report.html").stat().st_size > 20_000
    assert (folder / "data/market/dataset.json").is_file()


def test_python_lines_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = README.split("```python\n")[1].split("```")[0]
    people = np.random.default_rng(0).integers(0, 255, (12, 100, 40, 3), dtype=np.uint8)
    names: dict[str, object] = {"queries": people[:2], "gallery": people}
    exec(code, names)
    rows = names["rows"]
    assert isinstance(rows, np.ndarray)
    assert rows.shape == (2, 10)
    assert rows[:, 0].tolist() == [0, 1]


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^    make ([a-z-]+)", README, flags=re.MULTILINE)) <= targets


def test_generated_pages_are_current() -> None:
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken, broken
