"""Files of SMPL, SMPL-H and SMPL-X: read without running them, converted, and the same through `smplx`."""

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from resight.cluster.errors import UserError
from resight.rendering.batched_skinning import skin
from resight.rendering.official import FAMILIES, convert, read_official, reduced
from resight.rendering.parts import JOINT_ID, PART_ID
from resight.rendering.poses import walking
from resight.rendering.skinning import skin_one
from resight.rendering.smplxbridge import smplx_arguments, smplx_model
from resight.rendering.stance import fitted
from resight.rendering.unpickling import read_pickle
from tests.rendering.official_files import arrays, save_npz, save_pickle


class _Harm:
    def __init__(self, call: object, *words: object) -> None:
        self.call, self.words = call, words

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call, self.words


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_published_pickle_is_read_without_its_packages(tmp_path: Path, protocol: int) -> None:
    found, expected = read_official(save_pickle(tmp_path / "smpl.pkl", protocol=protocol)), arrays("smpl")
    np.testing.assert_array_equal(found["shapedirs"], expected["shapedirs"][:, :, :10])
    for name in ("v_template", "posedirs", "J_regressor", "weights", "kintree_table", "f"):
        np.testing.assert_allclose(found[name], expected[name], atol=0, rtol=0)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["alone", "in an array", "as a value"])
def test_a_harmful_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int, where: str) -> None:
    trace = tmp_path / "trace"
    harm = _Harm(subprocess.getoutput, f"touch {trace}")
    value: object = {
        "alone": harm,
        "in an array": {"v_template": np.array([harm], dtype=object)},
        "as a value": {"f": np.zeros(3), "x": harm},
    }[where]
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    with pytest.raises(UserError, match=r"getoutput, which no body model needs|an array of type 'O8'") as told:
        read_pickle(tmp_path / "bad.pkl")
    assert "nothing in it was run" in told.value.cure
    assert not trace.exists()
    pickle.loads((tmp_path / "bad.pkl").read_bytes())
    assert trace.exists(), "the file does harm to those who unpickle it"


@pytest.mark.parametrize(
    "call",
    [
        (eval, "1+1"),
        (getattr, np, "load"),
        (np.load, "x.npy"),
        (__import__, "os"),
        (open, "x"),
        (np.frombuffer, b"12345678"),
    ],
)
def test_names_that_arrays_do_not_need_are_refused(tmp_path: Path, call: tuple[object, ...]) -> None:
    (tmp_path / "bad.pkl").write_bytes(
        pickle.dumps({"x": _Harm(*call)} if call[0] is not getattr else _Harm(getattr, "a", "b"))
    )
    with pytest.raises(UserError, match="no body model needs"):
        read_pickle(tmp_path / "bad.pkl")


def test_arrays_cannot_be_told_to_take_bytes_for_objects(tmp_path: Path) -> None:
    """A type's state may lie about what it holds; numpy would then follow pointers that the file made up."""
    for value in (np.array([object]), np.zeros(2, [("a", "O")]), np.zeros(2, [("a", "f4")])):
        (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"x": value}, protocol=2))
        with pytest.raises(UserError, match="the pickle was refused"):
            read_pickle(tmp_path / "bad.pkl")


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i8", "u4", "b1", "S3", "U2"])
def test_arrays_come_back_as_they_were(tmp_path: Path, dtype: str) -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4).astype(dtype))
    found = {"a": array, "b": array[:0], "c": array[0, 0], "d": np.ascontiguousarray(array)}
    for protocol in (0, 2, 4):
        (tmp_path / "some.pkl").write_bytes(pickle.dumps(found, protocol=protocol))
        again = read_pickle(tmp_path / "some.pkl")
        for name, value in found.items():
            np.testing.assert_array_equal(again[name], value)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x80\x02}", pickle.dumps([1, 2]), pickle.dumps(3)])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "some.pkl").write_bytes(data)
    with pytest.raises(UserError):
        read_official(tmp_path / "some.pkl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((9, 31))}, "31 joints"),
        ({"posedirs": np.zeros((9, 3, 207))}, "posedirs has shape"),
        ({"kintree_table": np.zeros((2, 24), int)}, "not SMPL's"),
        ({"f": np.array(["a"])}, "holds no numbers"),
        ({"f": None}, "lacks f"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    given = {name: value for name, value in (arrays("smpl") | change).items() if value is not None}
    np.savez(tmp_path / "broken.npz", allow_pickle=False, **given)
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "broken.npz")


def test_an_npz_with_objects_in_it_is_read_around_them(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    extra = {"part2num": np.array(_Harm(subprocess.getoutput, f"touch {trace}"), dtype=object)}
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **arrays("smplx"), **extra)  # pyright: ignore[reportArgumentType]
    assert len(read_official(tmp_path / "SMPLX_NEUTRAL.npz")) == 7
    assert not trace.exists()


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_poses_mean_the_same_through_smplx(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("smplx")
    path = save_npz(family, tmp_path / f"{family}.npz", pad=family == "smplx")
    body, theirs = reduced(read_official(path), FAMILIES[family]), smplx_model(path)
    capsys.readouterr()  # it warns of few shape coefficients
    generator = torch.Generator().manual_seed(0)
    betas, pose = torch.randn(1, 10, generator=generator), 0.4 * torch.randn(1, 24, 3, generator=generator)
    if family != "smpl":
        pose[:, 22:] = 0
    shift = torch.randn(1, 3, generator=generator)
    expected = theirs(**smplx_arguments(family, betas, pose, shift))
    vertices, joints = skin(body, betas, pose, shift)
    assert torch.allclose(vertices, expected.vertices, atol=1e-5, rtol=0)
    assert torch.allclose(joints[:, :22], expected.joints[:, :22], atol=1e-5, rtol=0)
    one, _ = skin_one(body, betas[0].numpy(), pose[0].numpy(), shift[0].numpy())
    np.testing.assert_allclose(one, vertices[0].numpy(), atol=5e-6)


def test_a_converted_body_can_be_dressed_and_keeps_its_numbers(tmp_path: Path) -> None:
    path = save_npz("smplh", tmp_path / "smplh.npz")
    body, given = convert(path, people=20), arrays("smplh")
    count = len(given["v_template"])
    np.testing.assert_allclose(body.v_template[:count], given["v_template"], atol=1e-6)
    assert set(np.unique(body.face_part).tolist()) == set(range(1, 18))
    assert body.word_scale["height"][0] < body.word_scale["height"][1]
    hair = np.unique(body.f[body.face_part == PART_ID["hair"]])
    head = given["v_template"][given["weights"][:, 15] > 0.5]
    assert body.v_template[hair, 1].max() > head[:, 1].max()
    posed, joints = skin_one(body, np.zeros(10), fitted(body, walking(0.0)), np.zeros(3))
    assert np.isfinite(posed).all()
    assert joints[JOINT_ID["left_ankle"], 2] > joints[JOINT_ID["right_ankle"], 2] + 0.3
