"""How messages lie on a screen: between words, under their own first word, what is to be copied in one piece."""

import re

import pytest

from resight.cluster.errors import UserError
from resight.cluster.progress import Step
from resight.terminal import ProgressView, show_error, show_lines, show_note

LONG = "/mnt/shared/data/" + "a-rather-long-name/" * 5
ERROR = UserError(
    "2 images of 1,000 cannot be used, 0 would be allowed:\n  'anna_2_x.jpg': the file is empty",
    where=f"{LONG}train",
    cure="mend or remove them and start again, or leave them out with --max-bad-share 0.002",
)


@pytest.fixture(params=[80, 120])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of this width."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def lines(text: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines()


def test_an_error_on_a_terminal(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_error(ERROR)
    told = lines(capsys.readouterr().err)
    assert all(len(line) <= columns for line in told if LONG not in line)
    assert sum(f"{LONG}train" in line for line in told) == 1
    assert "  'anna_2_x.jpg': the file is empty" in told
    assert " ".join(line.strip() for line in told).endswith(f"cure  {ERROR.cure}")
    at = next(number for number, line in enumerate(told) if line.startswith("  cure  "))
    assert all(line.startswith(" " * 8) for line in told[at + 1 :])
    assert len(told) - at == (1 if columns == 120 else 2)


def test_an_error_in_a_log_is_one_line_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(ERROR)
    assert capsys.readouterr().err.splitlines() == [
        "error: 2 images of 1,000 cannot be used, 0 would be allowed:",
        "  'anna_2_x.jpg': the file is empty",
        f"  where {LONG}train",
        f"  cure  {ERROR.cure}",
    ]


def test_names_that_are_no_text_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(UserError("[bold]odd[/] \udcff", where="\udcff", cure="rename"))
    show_note("3 images left out", ["\udcff.jpg"])
    told = capsys.readouterr().err
    assert r"[bold]odd[/] \udcff" in told
    assert "note: 3 images left out\n  \\udcff.jpg" in told


def test_findings_stand_under_each_other(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_lines("warn", "Ray token", "word " * 30, "chmod 600 /home/me/.ray/auth_token")
    told = lines(capsys.readouterr().out)
    assert told[0].startswith("warn Ray token word")
    assert told[1].startswith(" " * 15 + "word")
    assert told[-1] == "     cure chmod 600 /home/me/.ray/auth_token"


def test_progress_draws_nothing_before_its_first_step(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressView():
        pass
    assert capsys.readouterr().err == ""
    with ProgressView() as view:
        view(Step(task="pack", done=1, total=1, unit="shards"))
    assert "pack" in capsys.readouterr().err
