"""The command line: help is instant and light, mistakes exit 2 in words, options do not multiply unseen."""

import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from resight.cli.app import VERBS, run, verb_class
from tests.tracing import untraced

FROZEN = Path(__file__).parent / "options.json"


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "resight", *words], capture_output=True, text=True)


def test_overview_names_every_verb() -> None:
    told = cli("--help")
    assert told.returncode == 0
    assert all(verb in told.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_examples(verb: str) -> None:
    told = cli(*verb.split(), "--help")
    assert told.returncode == 0
    assert "Examples:" in told.stdout
    assert f"resight {verb}" in told.stdout


@pytest.mark.parametrize("words", [[], *([*verb.split()] for verb in VERBS)])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from resight.cli.app import run
try:
    run({[*words, "--help"]!r})
except SystemExit:
    pass
heavy = sorted({{"torch", "ray", "numpy", "matplotlib", "numba", "pyarrow"}} & set(sys.modules))
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_help_is_quick() -> None:
    """Half a second of one core: processor time, since the suite shares its cores, and without coverage."""
    spent: list[float] = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "resight", "train", "--help"], env=untraced(), capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["rendr"], "did you mean 'render'?"),
        (["data", "chek", "x"], "did you mean 'data check'?"),
        (["train"], "--data DIR"),
    ],
)
def test_mistakes_exit_2_without_a_traceback(words: list[str], cure: str) -> None:
    told = cli(*words)
    assert told.returncode == 2
    assert cure in told.stderr
    assert "Traceback" not in told.stderr


def test_unknown_option_is_told_with_the_near_one() -> None:
    told = cli("render", "--wrld", "tiny", "--out", "x")
    assert told.returncode == 2
    assert "--world" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("resight ")


def test_options_are_frozen() -> None:
    """Flags multiply without end unless somebody has to write each one down: add it to options.json knowingly."""
    found = {verb: sorted(field.name for field in dataclasses.fields(verb_class(verb))) for verb in VERBS}
    assert found == json.loads(FROZEN.read_text())
