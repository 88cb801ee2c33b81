"""`resight body`: a file of one's own becomes a body, a body is measured and drawn, mistakes are told."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from resight.cli.app import run
from tests.rendering.official_files import save_pickle


def _said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = run([str(word) for word in words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_shipped_body_is_measured_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _said(capsys, "body", "show", "anny", "--betas", "2", "--sheet", tmp_path / "sheet.png", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["measurements"]["height"] > 1.85
    assert found["words"][0] == "tall"
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    assert picture is not None
    assert picture.shape == (5 * 320, 4 * 160, 3)
    cells = picture.reshape(5, 320, 4, 160, 3).swapaxes(1, 2).reshape(20, 320, 160, 3)
    drawn = np.any(np.abs(cells.astype(int) - cells[0, 0, 0]) > 6, axis=-1).mean(axis=(1, 2))
    assert drawn.min() > 0.08


def test_a_file_is_converted_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save_pickle(tmp_path / "SMPL.pkl")
    code, out, _ = _said(capsys, "body", "convert", file, "--out", tmp_path / "deep" / "mine.npz", "--json")
    assert code == 0
    converted = json.loads(out)
    code, out, _ = _said(capsys, "body", "show", tmp_path / "deep" / "mine.npz", "--json")
    assert code == 0
    assert json.loads(out)["sha256"] == converted["sha256"]


@pytest.mark.parametrize(
    ("words", "problem", "cure"),
    [
        (["body", "show", "any"], "no body 'any'", "did you mean 'anny'?"),
        (["body", "show", "{here}/none.npz"], "no such body file", "resight body convert"),
        (["body", "show", "{here}/text.npz"], "not a body file", "resight body convert"),
        (["body", "show", "anny", "--betas", *"12345678901"], "11 shape coefficients", "ten at most"),
        (["body", "convert", "{here}/none.pkl", "--out", "{here}/o.npz"], "no such file", "path of a body model"),
        (["body", "convert", "{here}/text.npz", "--out", "{here}/o.npz"], "the pickle was refused", "nothing in it"),
        (["body", "convert", "{here}/text.npz", "--out", "{here}/o.pkl"], "o.pkl is no .npz", "write o.npz"),
    ],
)
def test_mistakes_name_value_and_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str, cure: str
) -> None:
    (tmp_path / "text.npz").write_text("hello")
    code, _, err = _said(capsys, *(word.replace("{here}", str(tmp_path)) for word in words))
    assert code == 2
    flat = " ".join(err.split())
    assert problem in flat
    assert cure in flat
    assert not (tmp_path / "o.npz").exists()
