"""Body models in the layouts of SMPL, SMPL-H and SMPL-X, made from the capsule body: no published data is needed."""

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from resight.rendering.capsule import capsule_body
from resight.rendering.parts import JOINT_ID, PARENTS, PART_ID

_PADDED = 10475
"""Loaders of SMPL-X pick vertices up to this number."""


def arrays(family: str, *, pad: bool = False) -> dict[str, np.ndarray]:
    """The seven arrays; fingers split the hand's weights by place, correctives are small and random."""
    body = capsule_body()
    bald = np.unique(body.f[body.face_part != PART_ID["hair"]])
    number = np.full(len(body.v_template), -1)
    number[bald] = np.arange(len(bald))
    rng = np.random.default_rng(1)
    at, weights, regressor = body.v_template[bald], body.weights[bald].astype(np.float64), body.J_regressor[:, bald]
    shapes = 300 if family == "smpl" else 16 if family == "smplh" else 400
    shapedirs = np.full((len(bald), 3, shapes), 1e-3, np.float32)
    shapedirs[:, :, :10] = body.shapedirs[bald]
    parents = list(PARENTS)
    if family != "smpl":
        parents, weights, regressor = _with_hands(family, at, weights, regressor, rng)
    count = len(parents)
    posedirs = np.zeros((len(bald), 3, (count - 1) * 9), np.float32)
    posedirs[:, :, ::7] = rng.normal(0, 1e-3, posedirs[:, :, ::7].shape)
    kintree = np.array([parents, range(count)], np.int64)
    kintree[0, 0] = 2**32 - 1
    out = {
        "v_template": at,
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": regressor.astype(np.float64),
        "weights": weights,
        "kintree_table": kintree.astype(np.uint32),
        "f": number[body.f[body.face_part != PART_ID["hair"]]].astype(np.uint32),
    }
    return _grown(out) if pad else out


def _with_hands(family: str, at: Any, weights: Any, regressor: Any, rng: Any) -> tuple[list[int], Any, Any]:
    extra = 3 if family == "smplx" else 0
    joints = 22 + extra + 30
    parents = [*PARENTS[:22], *[15] * extra]
    wide, rows = np.zeros((len(at), joints)), np.zeros((joints, len(at)))
    wide[:, :22], rows[:22] = weights[:, :22], regressor[:22]
    rows[22 : 22 + extra] = regressor[JOINT_ID["head"]]
    wide[:, 22 : 22 + extra] = 0.1 * weights[:, 15:16]
    wide[:, 15] -= wide[:, 22 : 22 + extra].sum(axis=1)
    for hand, (wrist, side) in enumerate(((20, "left"), (21, "right"))):
        first = 22 + extra + 15 * hand
        owned = weights[:, JOINT_ID[f"{side}_hand"]]
        share = rng.random((len(at), 15))
        wide[:, first : first + 15] = owned[:, None] * share / share.sum(axis=1, keepdims=True)
        parents += [wrist if n % 3 == 0 else first + n - 1 for n in range(15)]
        near = np.flatnonzero(owned > 0.5)
        for n in range(15):
            rows[first + n, rng.choice(near, 3, replace=False)] = 1 / 3
    return parents, wide, rows


def _grown(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Repeat the last vertex, in no face, up to SMPL-X's number."""
    count = len(found["v_template"])
    more = np.full(_PADDED - count, count - 1)
    rows = np.concatenate([np.arange(count), more])
    out = {n: found[n][rows] for n in ("v_template", "shapedirs", "posedirs", "weights")}
    regressor = np.pad(found["J_regressor"], [(0, 0), (0, len(more))])
    return {**found, **out, "J_regressor": regressor}


def save_npz(family: str, path: Path, *, pad: bool = False) -> Path:
    np.savez(path, allow_pickle=False, **arrays(family, pad=pad), gender="neutral")
    return path


def save_pickle(path: Path, *, protocol: int = 2) -> Path:
    """Write SMPL as it is published: chumpy arrays, one a selection, and a sparse regressor."""
    found: dict[str, Any] = arrays("smpl")
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    plain, select = _chumpy_classes()
    modules["chumpy.ch"].Ch = plain  # pyright: ignore[reportAttributeAccessIssue]
    modules["chumpy.reordering"].Select = select  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules.update(modules)
    try:
        whole = plain()
        whole.x = found["shapedirs"]
        chosen = select()
        some = found["shapedirs"][:, :, :10]
        numbers = np.arange(found["shapedirs"].size).reshape(found["shapedirs"].shape)[:, :, :10]
        chosen.a, chosen.idxs, chosen.preferred_shape = whole, numbers.ravel(), some.shape
        template = plain()
        template.x = found["v_template"]
        published = {
            **found, "shapedirs": chosen, "v_template": template, "J_regressor": csc_matrix(found["J_regressor"]),
            "bs_type": "lrotmin", "bs_style": "lbs", "J": plain_of(plain, found),
        }  # fmt: skip
        path.write_bytes(pickle.dumps(published, protocol=protocol))
    finally:
        for name in modules:
            del sys.modules[name]
    return path


def plain_of(plain: type, found: dict[str, np.ndarray]) -> Any:
    joints = plain()
    joints.x = found["J_regressor"] @ found["v_template"]
    return joints


def _chumpy_classes() -> tuple[type, type]:
    plain = type("Ch", (), {"__module__": "chumpy.ch"})
    return plain, type("Select", (), {"__module__": "chumpy.reordering"})
