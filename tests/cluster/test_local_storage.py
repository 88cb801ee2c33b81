import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.cluster.local_storage import LocalStorage

NOBODY = 65534


@pytest.mark.parametrize("other_file_system", [False, True])
def test_a_file_is_published_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_file_system: bool):
    def refuse(*_: object):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if other_file_system:
        monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    storage = LocalStorage(tmp_path / "out")
    for _ in range(2):
        storage.publish_file(source, "big")
        assert source.read_bytes() == storage.read("big")
    assert source.stat().st_nlink == (1 if other_file_system else 2)
    source.unlink()
    assert storage.size("big") == 3_000_000
    assert os.listdir(tmp_path / "out") == ["big"]


@given(key=st.text(alphabet="./\\a\0-~", max_size=12))
def test_no_key_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, key: str):
    root = tmp_path_factory.getbasetemp() / "kept"
    storage = LocalStorage(root)
    try:
        storage.publish(b"1", key)
    except UserError:
        return
    inside = (root / key).resolve()
    assert inside.is_relative_to(root.resolve())
    storage.delete(key)
    for folder in list(inside.parents)[: len(inside.relative_to(root.resolve()).parts) - 1]:
        folder.rmdir()


def test_only_old_temporaries_are_swept(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.publish(b"1", "a/kept")
    old, young = tmp_path / "a" / ".tmp-old", tmp_path / "a" / ".tmp-young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert storage.sweep_temporaries(50) == 1
    assert sorted(os.listdir(tmp_path / "a")) == [".tmp-young", "kept"]


def test_a_file_in_the_way_is_explained(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.publish(b"", "taken")
    with pytest.raises(UserError) as caught:
        storage.publish(b"", "taken/below")
    assert "could not write 'taken/below'" in caught.value.problem
    assert "a file stands where a folder is needed" in caught.value.cure


def test_a_folder_in_the_way_leaves_no_rubbish(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.publish(b"", "taken/below")
    with pytest.raises(UserError, match="Is a directory"):
        storage.publish(b"", "taken")
    assert os.listdir(tmp_path) == ["taken"]


def child(code: str, *arguments: str) -> str:
    """Run a few lines in another process and return what they print."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


PUBLISH = """
import os, resource, sys
from pathlib import Path
from resight.cluster.errors import UserError
from resight.cluster.storage import LocalStorage
limit, user = int(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user and os.getuid() == 0:  # root may write anywhere
    os.setuid(user)
try:
    LocalStorage(Path(sys.argv[1])).publish(b"x" * 200_000, "a")
except UserError as error:
    sys.stdout.write(str(error))
"""


def test_a_read_only_folder_is_explained(tmp_path: Path):
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    tmp_path.chmod(0o555)
    said = child(PUBLISH, str(tmp_path), "0", str(NOBODY))
    assert "could not write 'a': Permission denied" in said
    assert f"where: {tmp_path}" in said
    assert "choose a folder that you may write to" in said


def test_a_file_size_limit_is_explained_and_leaves_nothing(tmp_path: Path):
    said = child(PUBLISH, str(tmp_path), "1000", "0")
    assert "could not write 'a': File too large" in said
    assert "ulimit -f" in said
    assert os.listdir(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_explained_and_stays_usable(tiny_disk: Path):
    storage = LocalStorage(tiny_disk)
    storage.publish(b"before", "kept")
    with pytest.raises(UserError, match="No space left on device") as caught:
        storage.publish(b"x" * 200_000, "kept")
    assert "free some disk space" in caught.value.cure
    assert storage.read("kept") == b"before"
    assert os.listdir(tiny_disk) == ["kept"]
