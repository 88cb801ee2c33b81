from pathlib import Path

import pytest

from resight.cluster.local_copies import LocalCopies


def writes(text: str, calls: list[str] | None = None):
    def fetch(path: Path) -> None:
        path.write_text(text)
        if calls is not None:
            calls.append(text)

    return fetch


def test_a_copy_is_fetched_once_for_each_version():
    copies, calls = LocalCopies(), list[str]()
    for version in ("1", "1", "2"):
        assert copies.path("a/b.txt", version, writes(version, calls)).read_text() == version
    assert calls == ["1", "2"]
    assert copies.path("a/b.txt", "2", writes("no")).name.endswith("-b.txt")


def test_copies_go_when_there_are_too_many_and_with_their_owner():
    copies = LocalCopies(limit_bytes=10)
    first = copies.path("a", "1", writes("x" * 6))
    second = copies.path("b", "1", writes("x" * 4))
    copies.path("a", "1", writes("no"))  # asked for last
    third = copies.path("c", "1", writes("x" * 3))
    assert [path.exists() for path in (first, second, third)] == [True, False, True]
    huge = copies.path("d", "1", writes("x" * 99))
    assert [path.exists() for path in (first, third, huge)] == [False, False, True]
    del copies
    assert not huge.parent.exists()


def test_half_a_copy_is_not_kept():
    def fails(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    copies = LocalCopies()
    with pytest.raises(RuntimeError):
        copies.path("a", "1", fails)
    assert copies.path("a", "1", writes("whole")).read_text() == "whole"
