"""Opening and reading: right bytes by row from any thread or process, and a cure for every damage."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.decode import decode, encode_plane
from tests.datasets.making import crops, write_dataset

PLANE = np.tri(128, 64, dtype=np.uint8)
MADE = [
    *crops("train", ids=6, per_id=4, mask=encode_plane(255 * PLANE), parts=encode_plane(3 * PLANE), words=("tall",)),
    *crops("query", ids=2, per_id=2, first=50),
]


@pytest.fixture
def made(tmp_path: Path):
    return write_dataset(MADE, tmp_path / "d", per_shard=10)


def test_every_row_is_its_sample(made: Dataset):
    assert len(made) == len(MADE) == 28
    assert len(made.card.shards) == 4
    for row, sample in enumerate(MADE):
        assert made.index.key[row] == sample.record.key
        assert bytes(made.image_bytes(row)) == sample.image
        assert np.array_equal(made.image(row), decode(sample.image))
        assert made.metadata(row)["pid"] == sample.record.pid
    assert made.metadata(0)["words"] == ["tall"]
    assert "Dataset('made', 28 images" in repr(made)


def test_planes(made: Dataset):
    mask, parts = made.mask(3), made.parts(3)
    assert mask is not None
    assert parts is not None
    assert np.array_equal(mask, 255 * PLANE)
    assert np.array_equal(parts, 3 * PLANE)
    assert made.mask(25) is None
    assert made.parts(25) is None


def test_bytes_are_a_view_and_not_a_copy(made: Dataset):
    first, again = made.image_bytes(5), made.image_bytes(5)
    assert isinstance(first, memoryview)
    assert first.readonly
    assert first.obj is again.obj


def test_threads_see_the_same(made: Dataset):
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(28), 10))
    fresh = open_dataset(made.path)
    with ThreadPoolExecutor(8) as executor:
        read = list(executor.map(lambda row: bytes(fresh.image_bytes(row)), rows))
    assert read == [MADE[row].image for row in rows]


def test_it_travels_as_a_path(made: Dataset):
    made.image(0)
    data = pickle.dumps(made)
    assert len(data) < 1000
    copy = pickle.loads(data)
    assert np.array_equal(copy.images([3, 1])[1], made.image(1))


def test_not_a_data_set(tmp_path: Path):
    with pytest.raises(UserError, match="not a data set") as caught:
        open_dataset(tmp_path)
    assert "resight render" in caught.value.cure


def test_unfinished_and_outer_folders_are_explained(made: Dataset, tmp_path: Path):
    with pytest.raises(UserError) as outer:
        open_dataset(tmp_path)
    assert outer.value.cure.endswith("d")
    (tmp_path / "d" / "dataset.json").unlink()
    with pytest.raises(UserError) as unfinished:
        open_dataset(tmp_path / "d")
    assert "never finished" in unfinished.value.cure


def test_missing_shard(made: Dataset):
    shard = made.shard_path("train-000001")
    shard.unlink()
    fresh = open_dataset(made.path)
    assert bytes(fresh.image_bytes(0)) == MADE[0].image
    with pytest.raises(UserError, match="shard 'train-000001' is missing") as caught:
        fresh.image(10)
    assert str(shard) == caught.value.where
    assert caught.value.cure


def test_truncated_shard(made: Dataset):
    path = made.shard_path("query-000000")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(UserError, match=r"'query-000000' is truncated: it ends at byte [\d,]+") as caught:
        open_dataset(made.path).image_bytes(27)
    assert str(path) == caught.value.where


def test_tampered_bytes_are_found_when_asked(made: Dataset):
    row = 12
    path = made.shard_path(str(made.index.shard[row]))
    data = bytearray(path.read_bytes())
    data[made.index.spans("image")[0][row] + 400] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match="checksum") as caught:
        open_dataset(made.path, verify=True).image_bytes(row)
    assert made.index.key[row] in caught.value.where
    assert f"byte {made.index.spans('image')[0][row]}" in caught.value.where
    assert bytes(open_dataset(made.path, verify=True).image_bytes(0)) == MADE[0].image


def test_undecodable_members_name_their_key(made: Dataset):
    data = bytearray(made.shard_path("train-000000").read_bytes())
    for member, row in (("image", 0), ("mask", 1)):
        offset, size = (int(values[row]) for values in made.index.spans(member))
        data[offset : offset + size] = bytes(size)
    json_at = made.index.spans("image")[0][2] + -(-made.index.spans("image")[1][2] // 512) * 512
    data[json_at : json_at + 600] = bytes(600)
    made.shard_path("train-000000").write_bytes(data)
    fresh = open_dataset(made.path)
    with pytest.raises(UserError, match="image cannot be decoded") as caught:
        fresh.image(0)
    assert "train-0001-00" in caught.value.where
    with pytest.raises(UserError, match="mask cannot be decoded"):
        fresh.mask(1)
    with pytest.raises(UserError, match="JSON cannot be read"):
        fresh.metadata(2)


def test_pixel_limit(made: Dataset):
    with pytest.raises(UserError, match="limit of 100"):
        open_dataset(made.path, max_pixels=100).image(0)


def test_index_and_card_must_agree(made: Dataset, tmp_path: Path):
    other = write_dataset(MADE[:5], tmp_path / "other")
    index = (tmp_path / "other" / "index.parquet").read_bytes()
    (tmp_path / "d" / "index.parquet").write_bytes(index)
    with pytest.raises(UserError, match="5 rows but the card counts 28"):
        open_dataset(made.path)
    assert len(other) == 5
