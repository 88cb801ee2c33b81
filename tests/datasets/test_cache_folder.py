"""Who must go from a shard cache's folder, and whose files are counted at all."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from resight.datasets.cache_folder import Entry, entries_of, partial_file, shard_file, to_evict

ENTRIES = st.lists(
    st.builds(
        Entry,
        name=st.uuids().map(str),
        kind=st.sampled_from(["whole", "partial", "old"]),
        size=st.integers(0, 40),
        used=st.integers(0, 5),
    ),
    max_size=12,
)


@given(entries=ENTRIES, limit=st.integers(0, 200), need=st.integers(0, 60))
def test_eviction_is_least_recently_used_and_no_more_than_needed(entries: list[Entry], limit: int, need: int) -> None:
    known = {entry.name: entry for entry in entries}
    fixed = sum(entry.size for entry in entries if entry.kind == "partial")
    whole = [entry for entry in entries if entry.kind == "whole"]
    chosen = to_evict(entries, limit=limit, need=need)
    if chosen is None:
        assert fixed + need > limit
        return
    gone = [known[name] for name in chosen]
    assert all(entry.kind == "whole" for entry in gone)
    left = [entry for entry in whole if entry.name not in chosen]
    assert fixed + sum(entry.size for entry in left) + need <= limit
    assert all(a.used <= b.used for a in gone for b in left)
    if gone:
        assert fixed + sum(entry.size for entry in [*left, gone[-1]]) + need > limit


def test_names_are_read_back(tmp_path: Path) -> None:
    sha256 = "0f" * 32
    shard_file(tmp_path, sha256).write_bytes(bytes(5))
    partial_file(tmp_path, sha256, 70).write_bytes(bytes(7))
    (tmp_path / "shard.tar").write_bytes(bytes(9))
    assert {(entry.kind, entry.size) for entry in entries_of(tmp_path)} == {("whole", 5), ("partial", 70)}
