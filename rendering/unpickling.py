"""Pickles of arrays, read without running anything: the form in which body models are published.

What: `read_pickle` understands dictionaries of numbers, texts, numpy arrays, scipy's sparse matrices and the two
classes of `chumpy` that SMPL's files hold, and refuses every other name before it is imported. Why: unpickling a file
runs whatever its author put there; and `chumpy` no longer imports on current Python and numpy. Source: the format of
Python's own documentation of `pickle` ("Restricting Globals"); what the classes hold was read off published files.
Trade-off: arrays of Python objects are refused, so a file that needs them has to be exported again.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from resight.cluster.errors import UserError

__all__ = ["read_pickle"]


class _Type:
    """Stands in for a numpy type: a letter, a size and a byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[fiub][1248]|[SU][0-9]{1,4}", code):
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("an array of unknown byte order")
        self.order = state[1]

    def read(self, raw: Any) -> np.ndarray:
        """Return the numbers in `raw`, which old pickles hold as text."""
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of objects")
        return np.frombuffer(data, np.dtype(self.order + self.code))


class _Array:
    """Stands in for a numpy array: numpy's own way of restoring one trusts the file with its memory."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = tuple(state)

    def value(self) -> np.ndarray:
        """Return the array."""
        _, shape, kind, fortran, raw = self.state
        if not isinstance(kind, _Type):
            raise pickle.UnpicklingError("an array without a type")
        return kind.read(raw).reshape(shape, order="F" if fortran else "C")


def _array(kind: object, *_: object) -> _Array:
    """Numpy makes an empty array first, and fills it from its state."""
    if kind is not _Array:
        raise pickle.UnpicklingError(f"an array of class {kind!r}")
    return _Array()


def _scalar(kind: _Type, raw: Any) -> Any:
    return kind.read(raw)[0]


class _Chumpy:
    """Stands in for a chumpy array: keeps its state, computes its value when asked."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)

    def value(self) -> np.ndarray:
        """Return the array: `x` of a plain one, chosen entries of another array for a selection."""
        if "x" in self.state:
            return np.asarray(_plain(self.state["x"]))
        if {"a", "idxs", "preferred_shape"} <= self.state.keys():
            source = np.asarray(_plain(self.state["a"])).ravel()
            chosen = source[np.asarray(_plain(self.state["idxs"])).ravel().astype(np.int64)]
            return chosen.reshape(tuple(int(size) for size in self.state["preferred_shape"]))
        raise pickle.UnpicklingError(f"a chumpy array with {', '.join(sorted(map(str, self.state)))} is not known")


class _Sparse:
    """Stands in for scipy's compressed columns."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)

    def value(self) -> np.ndarray:
        """Return the dense matrix."""
        shape = self.state.get("_shape", self.state.get("shape"))
        if shape is None or not {"data", "indices", "indptr"} <= self.state.keys():
            raise pickle.UnpicklingError("a sparse matrix without shape, data, indices and indptr")
        rows, columns = (int(size) for size in shape)
        if rows * columns > _LARGEST:
            raise pickle.UnpicklingError(f"a sparse matrix of {rows} x {columns}")
        data, indices, indptr = (np.asarray(_plain(self.state[name])) for name in ("data", "indices", "indptr"))
        out = np.zeros((rows, columns))
        out[indices, np.repeat(np.arange(columns), np.diff(indptr))] = data
        return out


def _encode(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes in old pickles as text and this call."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding}")
    return text.encode("latin1")


def _empty() -> bytes:
    """No bytes at all are written as a call of their class."""
    return b""


def _new(kind: type, base: type, state: None) -> object:
    """Python 2 makes objects of its own classes this way."""
    if kind not in (_Chumpy, _Sparse) or base is not object or state is not None:
        raise pickle.UnpicklingError(f"an object of {kind!r}")
    return kind()


_LARGEST: Final = 500_000_000
"""Entries of a matrix that is made dense."""

_CORES: Final = ("numpy.core", "numpy._core")
_KNOWN: Final[dict[tuple[str, str], Any]] = {
    **{(f"{core}.multiarray", "_reconstruct"): _array for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty,
    ("builtins", "bytes"): _empty,
    ("copy_reg", "_reconstructor"): _new,
    ("copyreg", "_reconstructor"): _new,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _Chumpy,
    **{(f"scipy.sparse.{module}", "csc_matrix"): _Sparse for module in ("csc", "_csc")},
}
"""(module, name) -> what stands for it; nothing else is looked up."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no body model needs")
        return known


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, _Array | _Chumpy | _Sparse) else value


def read_pickle(path: str | Path) -> dict[str, Any]:
    """Read a pickled dictionary; sparse and chumpy arrays come back as numpy arrays.

    Raises:
        UserError: the file is missing, is no such pickle, or names anything that arrays do not need.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError("there is no such file", where=str(path), cure="give the path of a body model") from error
    try:
        found = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError(f"it holds a {type(found).__name__}, not a dictionary")
        values = {str(name): _plain(value) for name, value in found.items()}
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
    ) as error:
        raise UserError(
            f"the pickle was refused: {error}",
            where=str(path),
            cure="use the file as its publisher gives it; nothing in it was run",
        ) from error
    return values
