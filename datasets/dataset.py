"""A published data set, opened for reading: its card, its index, and its images by row.

Shards are read where they lie, or through a cache of shards (`shard_access.py`). A `Dataset` may be shared by threads,
and pickles as its path, so that worker processes open it for themselves.
Source: design of this project; reading by offset instead of through tar headers is 25 times faster (454k samples/s).
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage, is_url, open_storage
from resight.datasets.card import CARD_KEY, INDEX_KEY, DatasetCard, card_from_json
from resight.datasets.decode import MAX_PIXELS, Undecodable, decode, decode_plane
from resight.datasets.index import Index, load_index
from resight.datasets.node_cache import node_cache
from resight.datasets.shard_access import Cached, InPlace, ShardAccess
from resight.datasets.shard_cache import ShardCache
from resight.datasets.shards import shard_key

__all__ = ["Dataset", "open_dataset", "open_stored"]

_CURE = "copy the data set again, or make it again"
_UNFINISHED = "it was never finished: start the command that makes it again, finished shards are kept"


class Dataset:
    """Images and labels of a published data set (make one with `open_dataset`).

    Attributes:
        path: where it was opened.
        name: the data set's name.
        card: what it says of itself.
        index: one row a sample; row numbers below are positions in it.
        shards: what images are read from.
    """

    def __init__(
        self,
        storage: Storage,
        card: DatasetCard,
        index: Index,
        *,
        shards: ShardAccess,
        verify: bool,
        max_pixels: int,
    ) -> None:
        self.path = storage.url
        self.name = card.name
        self.card = card
        self.index = index
        self._storage = storage
        self._verify = verify
        self._max_pixels = max_pixels
        self.shards = shards
        self._spans: dict[str, tuple[memoryview, memoryview]] = {}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.index)

    def __repr__(self) -> str:
        """Name, size and place."""
        return f"Dataset({self.name!r}, {len(self)} images, {self.path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a path: the receiver opens and maps for itself."""
        cache = self.shards.cache if isinstance(self.shards, Cached) else None
        return (_reopen, (self.path, self._verify, self._max_pixels, cache))

    def image_bytes(self, row: int) -> memoryview:
        """Return the encoded image; of a shard that lies on this machine, a view into the mapped file.

        Raises:
            UserError: for a shard that is missing, truncated or cannot be cached, and, when opened with `verify`, for
                bytes that are not those in the index.
        """
        data = self._member("image", row)
        if self._verify and hashlib.sha256(data).hexdigest() != self.index.sha256[row]:
            raise UserError("the image's bytes fail their checksum", where=self._where(row), cure=_CURE)
        return data

    def pixels(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the decoded image, RGB; Undecodable when it cannot be or is over the pixel limit.

        For readers that can do without an image; `image` is for those that cannot.
        """
        return decode(self.image_bytes(row), max_pixels=self._max_pixels)

    def image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the decoded image, RGB; UserError when it cannot be decoded or is over the pixel limit."""
        try:
            return self.pixels(row)
        except Undecodable as error:
            raise self._undecodable(row, "image", error) from error

    def images(self, rows: Iterable[int]) -> list[UInt8[np.ndarray, "h w 3"]]:
        """Return the decoded images of some rows, in their order."""
        return [self.image(int(row)) for row in rows]

    def mask(self, row: int) -> UInt8[np.ndarray, "h w"] | None:
        """Return the mask, 255 where the person is visible; None when the sample has none."""
        return self._plane("mask", row)

    def parts(self, row: int) -> UInt8[np.ndarray, "h w"] | None:
        """Return the body part of each visible pixel, 0 elsewhere; None when the sample has none."""
        return self._plane("parts", row)

    def metadata(self, row: int) -> dict[str, Any]:
        """Return the sample's JSON: its record, and annotations that the index has no column for (pose, words, ...)."""
        offset, size = (int(values[row]) for values in self.index.spans("image"))
        head = offset + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE  # the JSON member follows the image
        shard = str(self.index.shard[row])
        try:
            header = self.shards.read(shard, head, tarfile.BLOCKSIZE)
            info = tarfile.TarInfo.frombuf(bytes(header), "ascii", "strict")
            return json.loads(bytes(self.shards.read(shard, head + tarfile.BLOCKSIZE, info.size)))
        except (tarfile.HeaderError, ValueError) as error:
            raise UserError(f"the sample's JSON cannot be read: {error}", where=self._where(row), cure=_CURE) from error

    def shard_path(self, shard: str) -> Path:
        """Return the shard's path in the data set's own folder, after comparing its size with the card's."""
        return InPlace(self._storage, self.card).path(shard)

    def _member(self, member: str, row: int) -> memoryview:
        offsets, sizes = self._spans.get(member) or self._plain_spans(member)
        offset, size = offsets[row], sizes[row]
        data = self.shards.read(self._shard_of[row], offset, size)
        if len(data) != size:
            problem = f"the index points beyond the end of the shard: {size} bytes at {offset}"
            raise UserError(problem, where=self._where(row), cure=_CURE)
        return data

    def _plain_spans(self, member: str) -> tuple[memoryview, memoryview]:
        """Return (offsets, sizes) that give plain integers: five times faster than NumPy's, one at a time."""
        offsets, sizes = self.index.spans(member)
        self._spans[member] = offsets.data, sizes.data
        return self._spans[member]

    @cached_property
    def _shard_of(self) -> list[str]:
        names, codes = np.unique(self.index.shard, return_inverse=True)
        plain = names.tolist()
        return [plain[code] for code in codes.tolist()]

    def _plane(self, member: str, row: int) -> np.ndarray | None:
        if self.index.spans(member)[0][row] < 0:
            return None
        try:
            return decode_plane(self._member(member, row), max_pixels=self._max_pixels)
        except Undecodable as error:
            raise self._undecodable(row, member, error) from error

    def _where(self, row: int) -> str:
        offset = int(self.index.spans("image")[0][row])
        return f"{self.path}/{shard_key(str(self.index.shard[row]))}, byte {offset}, key {self.index.key[row]!r}"

    def _undecodable(self, row: int, member: str, error: Undecodable) -> UserError:
        cure = "run `resight data check` to see how many are affected, then make the data set again"
        return UserError(f"{member} cannot be decoded: {error.reason}", where=self._where(row), cure=cure)


def open_dataset(
    path: str | Path, *, verify: bool = False, max_pixels: int = MAX_PIXELS, cache: ShardCache | None = None
) -> Dataset:
    """Open a published data set.

    Args:
        path: its folder, or s3://bucket/prefix.
        verify: compare every image's bytes with their checksum when they are read (about 5 us an image).
        max_pixels: refuse to decode images with more pixels than this.
        cache: read shards through it; by default they are read where they lie, and those on S3 through this
            machine's own (`node_cache.py`).

    Raises:
        UserError: when the folder holds no data set, an unfinished one, or one of a newer version.
    """
    return open_stored(open_storage(path), verify=verify, max_pixels=max_pixels, cache=cache)


def open_stored(storage: Storage, *, verify: bool, max_pixels: int, cache: ShardCache | None) -> Dataset:
    """Open the data set in a storage; as `open_dataset`."""
    if not storage.exists(CARD_KEY):
        raise _not_there(storage)
    card = card_from_json(storage.read(CARD_KEY), where=f"{storage.url}/{CARD_KEY}")
    if cache is None and is_url(storage.url):
        cache = node_cache()
    index = load_index(storage.local(INDEX_KEY))
    if len(index) != card.images:
        problem = f"the index has {len(index)} rows but the card counts {card.images} images"
        raise UserError(problem, where=storage.url, cure=_CURE)
    shards = InPlace(storage, card) if cache is None else Cached(storage, card, cache)
    return Dataset(storage, card, index, shards=shards, verify=verify, max_pixels=max_pixels)


def _reopen(path: str, verify: bool, max_pixels: int, cache: ShardCache | None) -> Dataset:
    return open_dataset(path, verify=verify, max_pixels=max_pixels, cache=cache)


def _not_there(storage: Storage) -> UserError:
    if is_url(storage.url):
        return _not_in_bucket(storage)
    if not Path(storage.url).is_dir():
        what = "a file, not a folder" if Path(storage.url).exists() else "not there"
        cure = "check the path; `resight render` and `resight pack` make data sets"
        return UserError(f"this data set is {what}", where=storage.url, cure=cure)
    inner = [key.removesuffix(f"/{CARD_KEY}") for key in _cards_below(storage)]
    if inner:
        cure = f"open one of the data sets inside it: {', '.join(inner[:6])}"
    elif storage.list("_commits/"):
        cure = _UNFINISHED
    else:
        cure = "make one with `resight render` or `resight pack`, and give the folder it was written to"
    return UserError("this folder is not a data set: it has no dataset.json", where=storage.url, cure=cure)


def _not_in_bucket(storage: Storage) -> UserError:
    """Say what is in place of a data set; the listing itself tells of a bucket that is not there."""
    keys = storage.list()
    inner = [key.removesuffix(f"/{CARD_KEY}") for key in keys if key.endswith(f"/{CARD_KEY}")]
    if inner:
        cure = f"open one of the data sets below it: {', '.join(inner[:6])}"
    elif any(key.startswith("_commits/") for key in keys):
        cure = _UNFINISHED
    else:
        cure = "check the prefix; `resight render` and `resight pack` make data sets"
    return UserError("there is no data set here: no dataset.json", where=storage.url, cure=cure)


def _cards_below(storage: Storage) -> list[str]:
    root = Path(storage.url)
    return sorted(path.relative_to(root).as_posix() for path in root.glob(f"*/{CARD_KEY}"))
