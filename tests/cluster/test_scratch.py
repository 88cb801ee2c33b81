import os
import tempfile
import time
from pathlib import Path

import pytest

from resight.cluster.scratch import scratch_folder, sweep_scratch


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_folder_is_empty_and_goes_away():
    with scratch_folder() as folder:
        assert os.listdir(folder) == []
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
    assert not folder.exists()


def test_the_folder_goes_away_when_work_fails(tmp_path: Path):
    with pytest.raises(RuntimeError), scratch_folder():
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_living_folders_are_not_swept():
    with scratch_folder() as folder:
        long_ago = time.time() - 1000
        os.utime(folder, (long_ago, long_ago))
        assert sweep_scratch() == 0
        assert folder.exists()


def test_folders_of_dead_processes_are_swept(tmp_path: Path):
    child = os.fork()
    if child == 0:
        with scratch_folder():
            os._exit(0)
    os.waitpid(child, 0)
    assert len(os.listdir(tmp_path)) == 1
    assert sweep_scratch() == 0, "too young: it could be about to be locked"
    assert sweep_scratch(young_s=-1) == 1
    assert os.listdir(tmp_path) == []
