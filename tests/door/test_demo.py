"""The demo's way on the smallest world: every step runs, the page is there, and the exit code tells the verdict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resight.cli.demo_steps import Claim, Outcome


def claim(low: float, needed: float | None = 0.0) -> Claim:
    return Claim(split="clothes", baseline="chance", trained=0.2, other=0.1, difference=(0.1, low, 0.2), needed=needed)


def test_a_claim_holds_only_with_its_whole_interval() -> None:
    assert claim(0.01).holds
    assert not claim(0.0).holds
    assert claim(-1.0, needed=None).holds
    outcome = Outcome(claims=(claim(0.01), claim(-0.01)), report=Path("r"), seconds={})
    assert not outcome.holds
    assert [found["holds"] for found in json.loads(json.dumps(outcome.to_dict()))["claims"]] == [True, False]


@pytest.mark.ray
def test_demo_runs_from_nothing_to_the_report(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "resight", "demo", "--size", "micro", "--out", str(tmp_path / "demo"), "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    outcome = json.loads(done.stdout)
    assert done.returncode == (0 if outcome["holds"] else 1), done.stderr
    assert {found["split"] for found in outcome["claims"]} == {"base", "clothes"}
    assert {found["baseline"] for found in outcome["claims"]} == {"chance", "untrained", "histogram", "silhouette"}
    assert "worst" in (tmp_path / "demo/run/evaluations/clothes/rankings.json").read_text()
    assert Path(outcome["report"]).read_text().count("data:image/jpeg;base64,") > 50
    assert "Traceback" not in done.stderr
