"""Setting identities aside for validation, by a hash of pid.

The same pid is on the same side whatever else is in the data, however the rows are ordered and whichever machine asks;
adding identities later never moves an old one. Source: the usual hash split; BLAKE2b (RFC 7693). Trade-off: the share
is met on average only, so a small data set may be a few identities off.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Int64

from resight.cluster.errors import UserError

__all__ = ["held_out"]


def held_out(pids: Int64[np.ndarray, " n"], share: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Tell which rows belong to held-out identities.

    Args:
        pids: identity of each row; below 0 (unknown) is never held out.
        share: of the identities, in [0, 1).
        seed: chooses the split; another seed holds out other identities.

    Raises:
        UserError: when `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise UserError(f"val_ids is {share}", where="data.val_ids", cure="use a share from 0 up to, not including, 1")
    names, codes = np.unique(pids, return_inverse=True)
    aside = np.array([pid >= 0 and _position(int(pid), seed) < share for pid in names], bool)
    return aside[codes]


def _position(pid: int, seed: int) -> float:
    """Return the identity's fixed place in [0, 1)."""
    digest = hashlib.blake2b(f"{seed}/{pid}".encode(), digest_size=8, person=b"holdout-1").digest()
    return int.from_bytes(digest, "big") / 2**64
