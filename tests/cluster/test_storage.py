import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.cluster.storage import LocalStorage, open_storage

NOBODY = 65534


def test_what_is_published_can_be_read(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    assert storage.publish(b"abc", "a/b.bin")
    assert storage.exists("a/b.bin")
    assert storage.size("a/b.bin") == 3
    assert storage.read("a/b.bin") == b"abc"
    assert storage.local("a/b.bin") == tmp_path / "a" / "b.bin"
    assert storage.url == str(tmp_path)


def test_publishing_again_replaces(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.publish(b"old", "key")
    storage.publish(b"new", "key")
    assert storage.read("key") == b"new"


def test_exclusive_publishing_leaves_the_first(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    assert storage.publish(b"first", "key", exclusive=True)
    assert not storage.publish(b"second", "key", exclusive=True)
    assert storage.read("key") == b"first"
    assert os.listdir(tmp_path) == ["key"]


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


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="No such file"):
        LocalStorage(tmp_path / "out").publish_file(tmp_path / "nowhere", "big")


def test_listing_is_sorted_and_filtered(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    for key in ("shards/train-2", "shards/train-1", "shards/val-1", "dataset.json", "shards/deep/train-3"):
        storage.publish(b"", key)
    (tmp_path / "shards" / ".tmp-abc").write_bytes(b"half")
    assert storage.list() == [
        "dataset.json",
        "shards/deep/train-3",
        "shards/train-1",
        "shards/train-2",
        "shards/val-1",
    ]
    assert storage.list("shards/train") == ["shards/train-1", "shards/train-2"]
    assert storage.list("absent/") == []
    assert LocalStorage(tmp_path / "nowhere").list() == []


def test_deleting_is_harmless_when_absent(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.publish(b"", "key")
    storage.delete("key")
    storage.delete("key")
    assert not storage.exists("key")


def test_what_is_absent_is_explained(tmp_path: Path):
    for ask in (LocalStorage(tmp_path).read, LocalStorage(tmp_path).size, LocalStorage(tmp_path).local):
        with pytest.raises(UserError, match="'no/such' is not there"):
            ask("no/such")


@pytest.mark.parametrize("key", ["", ".", "/etc/passwd", "../up", "a/../../up", "a\\b", "a\0b", "a/.tmp-x"])
def test_unsafe_keys_are_refused(tmp_path: Path, key: str):
    storage = LocalStorage(tmp_path / "root")
    for ask in (storage.exists, storage.read, storage.delete, lambda key: storage.publish(b"", key)):
        with pytest.raises(UserError, match="is not a storage key"):
            ask(key)


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


def test_readers_never_see_a_torn_object(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    texts = [bytes([letter]) * 50_000 for letter in b"ab"]
    storage.publish(texts[0], "key")

    def publish(text: bytes) -> None:
        for _ in range(15):
            storage.publish(text, "key")

    writers = [threading.Thread(target=publish, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert storage.read("key") in texts
    for writer in writers:
        writer.join()
    assert os.listdir(tmp_path) == ["key"]


def test_one_of_many_exclusive_publishers_wins(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    won: list[int] = []
    barrier = threading.Barrier(8)

    def publish(number: int) -> None:
        barrier.wait()
        if storage.publish(str(number).encode(), "key", exclusive=True):
            won.append(number)

    writers = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert storage.read("key") == str(won[0]).encode()
    assert len(won) == 1


def test_open_storage_takes_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_storage("~/data").url == str(tmp_path / "data")
    assert open_storage(tmp_path).url == str(tmp_path)


def test_open_storage_names_what_is_supported():
    with pytest.raises(UserError, match="no storage back end for s3://") as caught:
        open_storage("s3://bucket/prefix")
    assert "local folders" in caught.value.cure
