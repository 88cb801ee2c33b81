"""CUHK03 from its original files: `cuhk-03.mat` with all pixels, and the split of the new protocol beside it.

`cuhk-03.mat` is an HDF5 file (MATLAB 7.3): `detected` and `labeled` are cells, one a pair of cameras, each a table of
people x 10 images, of which five belong to each view; MATLAB's order of dimensions is the reverse of ours, and an empty
cell is an array of two dimensions. `cuhk03_new_protocol_config_KIND.mat` (MATLAB 5) holds `filelist`, names
`c_ppp_v_nn.png` (pair, person, view, image, all from 1), `labels`, and `train_idx`, `query_idx`, `gallery_idx`, from 1.
Reading HDF5 needs the package h5py, an extra; images are encoded as PNG while packing.
Source: Li et al., DeepReID, CVPR 2014 and Zhong et al., CVPR 2017: the formats of their files.
"""

import importlib
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.io import loadmat

from resight.cluster.errors import UserError
from resight.datasets.decode import Undecodable
from resight.datasets.readers.crops import Crop, sources_of
from resight.datasets.readers.pictures import png
from resight.datasets.readers.scan import Scan, finish_scan
from resight.datasets.records import Split

__all__ = ["MatPictures", "find_mats", "scan_mats"]

_PIXELS: Final = "cuhk-03.mat"
_NAME: Final = re.compile(r"(?P<pair>[1-9])_(?P<person>[0-9]{3})_(?P<view>[12])_(?P<image>[0-9]{2})\.png")
_SPLITS: Final[dict[Split, str]] = {"train": "train_idx", "query": "query_idx", "gallery": "gallery_idx"}
_TYPICAL_BYTES: Final = 32_768  # of a crop; the real size is known only when it is encoded
_AGAIN: Final = "unpack the archive again"


class MatPictures:
    """Images of `cuhk-03.mat` as PNG; an origin is `KIND/c_ppp_v_nn.png`. The file is opened at the first read.

    Args:
        path: the file.
    """

    form = "cuhk-03.mat-1"

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a path: open files do not."""
        return (MatPictures, (self._path,))

    def read(self, origin: str, size: int) -> bytes:
        """Return the image as PNG; Undecodable when the cell is empty or is no picture."""
        kind, _, name = origin.partition("/")
        match = _NAME.fullmatch(name)
        assert match is not None, "origins are made by scan_mats"
        pair, person, _, image = (int(part) - 1 for part in match.groups())
        people = self._file[self._file[kind][0][pair]]  # (10, people): MATLAB's order reversed
        pixels = np.asarray(self._file[people[image, person]])
        if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != np.uint8:
            raise Undecodable(f"the cell is no picture: {pixels.dtype} of shape {pixels.shape}")
        return png(np.ascontiguousarray(pixels.T))  # (3, w, h) -> (h, w, 3)

    @cached_property
    def _file(self) -> Any:
        return _h5py(self._path).File(self._path, "r")


def find_mats(root: Path, kind: str) -> tuple[Path, Path] | None:
    """Return `cuhk-03.mat` and the configuration of `kind`, looked for in and around `root`; None without the former.

    Raises:
        UserError: when only the configuration is missing.
    """
    folders = [folder for home in (root, root / "cuhk03") for folder in (home, home / "cuhk03_release")]
    pixels = next((folder / _PIXELS for folder in folders if (folder / _PIXELS).is_file()), None)
    if pixels is None:
        return None
    name = f"cuhk03_new_protocol_config_{kind}.mat"
    config = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if config is None:
        cure = f"put {name} of the new protocol beside it"
        raise UserError(f"{name!r} is missing", where=str(pixels.parent), cure=cure)
    return pixels, config


def scan_mats(pixels: Path, config: Path, *, kind: str, dataset: str) -> Scan:
    """Return the crops of the new protocol.

    Raises:
        UserError: when h5py is not installed, or the configuration is not as published.
    """
    _h5py(pixels)
    values = loadmat(config)
    if absent := [name for name in ("filelist", "labels", *_SPLITS.values()) if name not in values]:
        raise UserError(f"{absent[0]!r} is missing in it", where=str(config), cure=_AGAIN)
    names = [str(cell.item()) for cell in values["filelist"].ravel()]
    labels = values["labels"].ravel().astype(int).tolist()
    crops = [
        _crop(config, kind, split, names[number - 1], labels[number - 1], number)
        for split, column in _SPLITS.items()
        for number in values[column].ravel().astype(int).tolist()
    ]
    return finish_scan(pixels.parent, sources_of(dataset, crops), [], cure=_AGAIN, converted=MatPictures(pixels))


def _crop(config: Path, kind: str, split: Split, name: str, pid: int, number: int) -> Crop:
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{name!a} is not named as in CUHK03", where=str(config), cure=_AGAIN)
    camera = int(match["view"])
    return Crop(
        origin=f"{kind}/{name}",
        size=_TYPICAL_BYTES,
        key=f"{split}_{pid:04d}_c{camera}_{number}",
        split=split,
        pid=pid,
        camid=camera - 1,
        frame=number,
    )


def _h5py(path: Path) -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        cure = "pip install 'resight[mat]', or give the folders of CUHK03-NP"
        raise UserError("reading this file needs the package h5py", where=str(path), cure=cure) from error
