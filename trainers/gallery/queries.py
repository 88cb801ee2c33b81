"""What is searched for: pictures in files and folders, and images of a data set by key.

Source: design of this project. Trade-off: a word that is a path is taken for one, even if it looks like DIR:KEY.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32

from resight.cluster.errors import UserError
from resight.cluster.storage import absolute
from resight.datasets.card import CARD_KEY
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.decode import Undecodable, decode
from resight.datasets.readers.scan import files_below
from resight.trainers.embedder import Embedder

__all__ = ["Query", "embed_queries", "read_queries"]

MOST_BYTES: Final = 64 << 20
"""A picture in a file may have so many bytes: a crop has far fewer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """One picture to search for.

    Attributes:
        name: the file's path, or DIR:KEY.
        image: its bytes, JPEG or PNG.
        dataset: the data set it is from; None for a file.
        row: of the data set.
    """

    name: str
    image: bytes
    dataset: Dataset | None = None
    row: int = -1

    @property
    def key(self) -> str:
        """Key in its data set; empty for a file."""
        return "" if self.dataset is None else str(self.dataset.index.key[self.row])

    @property
    def pid(self) -> int:
        """Identity, -1 when unknown."""
        return -1 if self.dataset is None else int(self.dataset.index.pid[self.row])

    @property
    def camid(self) -> int:
        """Camera, -1 when unknown."""
        return -1 if self.dataset is None else int(self.dataset.index.camid[self.row])


def read_queries(words: Sequence[str]) -> list[Query]:
    """Read what some words name: a picture, a folder's pictures by name, or DIR:KEY.

    Raises:
        UserError: for words that name nothing, folders without pictures, and files that are no picture.
    """
    if not words:
        cure = "resight search PICTURE... --index DIR; a picture is a file, a folder or DATA:KEY"
        raise UserError("nothing to search for", where="resight search", cure=cure)
    opened: dict[str, Dataset] = {}
    return [query for word in words for query in _read(word, opened)]


def embed_queries(embedder: Embedder, queries: Sequence[Query]) -> Float32[np.ndarray, "q d"]:
    """Return one vector a query; images of data sets as `resight embed` computes them, with their cameras."""
    features = np.empty((len(queries), embedder.dim), np.float32)
    files = [place for place, query in enumerate(queries) if query.dataset is None]
    if files:
        features[files] = embedder.embed([_pixels(queries[place]) for place in files])
    datasets = {id(query.dataset): query.dataset for query in queries if query.dataset is not None}
    for dataset in datasets.values():
        places = [place for place, query in enumerate(queries) if query.dataset is dataset]
        features[places] = embedder.embed_dataset(dataset, np.array([queries[place].row for place in places]))
    return features


def _read(word: str, opened: dict[str, Dataset]) -> list[Query]:
    path = Path(word).expanduser()
    if path.is_dir():
        return _folder(path)
    folder, colon, key = word.rpartition(":")
    if path.exists() or not colon:
        return [_file(path)]
    if folder not in opened:
        opened[folder] = open_dataset(absolute(folder))
    dataset = opened[folder]
    row = dataset.index.row_of(key)
    return [Query(name=word, image=bytes(dataset.image_bytes(row)), dataset=dataset, row=row)]


def _folder(path: Path) -> list[Query]:
    if (path / CARD_KEY).is_file():
        cure = f"name an image by its key, {path}:KEY"
        raise UserError("this is a data set: which of its images is meant?", where=str(path), cure=cure)
    found = [_file(path / file.path) for file in files_below(path) if file.looks_like_image]
    if not found:
        raise UserError("there are no pictures in this folder", where=str(path), cure="give a folder of JPEG or PNG")
    return found


def _file(path: Path) -> Query:
    if not path.is_file():
        cure = "give a picture's path, a folder of pictures, or DATA:KEY"
        raise UserError("there is no such picture", where=str(path), cure=cure)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path.stat().st_size:,} bytes are no crop", where=str(path), cure="cut the person out")
    query = Query(name=str(path), image=path.read_bytes())
    _pixels(query)
    return query


def _pixels(query: Query) -> np.ndarray:
    try:
        return decode(query.image)
    except Undecodable as error:
        cure = "give crops of people as JPEG or PNG"
        raise UserError(f"the picture cannot be used: {error.reason}", where=query.name, cure=cure) from error
