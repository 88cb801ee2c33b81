"""A user's poses: every published layout is read alike, and what cannot be a pose is refused with its cure."""

from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.rendering.posefiles import read_poses

RNG = np.random.default_rng(0)
FLAT = RNG.normal(0, 0.3, (3, 72))


@pytest.mark.parametrize(
    "saved",
    [
        {"poses": FLAT},
        {"pose": FLAT.reshape(3, 24, 3)},
        {"poses": FLAT.astype(np.float32), "betas": np.zeros(10)},
        {"body_pose": FLAT[:, 3:], "global_orient": FLAT[:, :3]},
        {"body_pose": FLAT[:, 3:].reshape(3, 23, 3), "global_orient": FLAT[:, :3].reshape(3, 1, 3)},
    ],
)
def test_layouts_of_smpl_are_read_alike(tmp_path: Path, saved: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "p.npz", allow_pickle=False, **saved)
    np.testing.assert_allclose(read_poses(tmp_path / "p.npz").reshape(3, 72), FLAT, atol=1e-6)


@pytest.mark.parametrize("size", [156, 165])
def test_longer_poses_keep_the_body_and_rest_the_hands(tmp_path: Path, size: int) -> None:
    long = RNG.normal(0, 0.3, (2, size))
    np.savez(tmp_path / "p.npz", poses=long)
    found = read_poses(tmp_path / "p.npz")
    np.testing.assert_allclose(found[:, :22].reshape(2, 66), long[:, :66], atol=1e-6)
    assert not found[:, 22:].any()


def test_one_pose_is_a_batch_of_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", pose=FLAT[0])
    assert read_poses(tmp_path / "p.npz").shape == (1, 24, 3)


@pytest.mark.parametrize(
    ("saved", "problem", "cure"),
    [
        ({"poses": FLAT[:, :70]}, "70 numbers", "72"),
        ({"poses": np.zeros((0, 72))}, "of \\(0, 72\\)", "numbers"),
        ({"poses": np.where(np.arange(72) == 5, np.nan, FLAT)}, "pose 0 holds numbers", "leave such frames out"),
        ({"poses": FLAT * 200}, "radians", "not degrees"),
        ({"posse": FLAT}, "no poses in it", "name the array poses"),
        ({"body_pose": FLAT[:, 3:]}, "without global_orient", "save both"),
        ({"body_pose": FLAT[:, 3:], "global_orient": FLAT[:2, :3]}, "global_orient", "beside"),
        ({"poses": np.array(["a"])}, "poses is <U1", "numbers"),
    ],
)
def test_what_is_no_pose_is_refused(tmp_path: Path, saved: dict[str, np.ndarray], problem: str, cure: str) -> None:
    np.savez(tmp_path / "p.npz", allow_pickle=False, **saved)
    with pytest.raises(UserError, match=problem) as told:
        read_poses(tmp_path / "p.npz")
    assert cure in told.value.cure
    assert told.value.where.endswith("p.npz")


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_files_that_hold_no_arrays_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.npz").write_bytes(data)
    with pytest.raises(UserError):
        read_poses(tmp_path / "p.npz")
    with pytest.raises(UserError, match="no such file"):
        read_poses(tmp_path / "none.npz")
