"""Whole pictures of the body: coverage, labels that fit each other, light, cuts, inflation, and equal bytes."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from resight.rendering.appearance import WHOLE, Appearance, Wear, bare, dress, material
from resight.rendering.body import Body
from resight.rendering.camera import Camera, look_at
from resight.rendering.capsule import capsule_body
from resight.rendering.parts import PART_ID
from resight.rendering.poses import standing
from resight.rendering.shading import Frame, Lights, render
from resight.rendering.skinning import rest_vertices, skin_one
from tests.rendering import plain_body

FRONT, BACK = (0.0, 0.9, 5.0), (0.0, 0.9, -5.0)
ZERO = np.zeros(10)


@pytest.fixture(scope="module")
def body() -> Body:
    return capsule_body()


def _camera(eye: tuple[float, float, float] = FRONT, height: int = 128, width: int = 64) -> Camera:
    return look_at(eye, (0.0, 0.9, 0.0), focal=2.4 * height, height=height, width=width)


def _posed(body: Body) -> np.ndarray:
    return skin_one(body, ZERO, standing(), np.array([0.0, 0.93, 0.0]))[0]


def _shoot(
    body: Body,
    worn: Appearance,
    camera: Camera | None = None,
    lights: Lights | None = None,
    supersample: int = 2,
) -> Frame:
    rest = rest_vertices(body, ZERO)
    return render(_posed(body), rest, body, worn, camera or _camera(), lights or Lights(), supersample=supersample)


def test_the_maps_fit_each_other(body: Body) -> None:
    frame = _shoot(body, dress(bare()))
    assert frame.rgb.shape == (128, 64, 3)
    assert frame.rgb.dtype == frame.alpha.dtype == frame.depth.dtype == np.float32
    np.testing.assert_array_equal(frame.mask == 255, frame.alpha >= 0.5)
    np.testing.assert_array_equal(frame.part > 0, frame.mask == 255)
    np.testing.assert_array_equal(np.isfinite(frame.depth), frame.alpha > 0)
    covered = frame.alpha > 0
    assert (frame.rgb[~covered] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(frame.normal[covered], axis=1), 1, atol=1e-5)
    assert set(np.unique(frame.alpha).tolist()) == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert 4.6 < frame.depth[covered].min() < frame.depth[covered].max() < 5.3
    assert 0.08 < frame.mask.mean() / 255 < 0.3


def test_left_is_on_the_right_of_the_picture_from_the_front(body: Body) -> None:
    for eye, side in ((FRONT, 1), (BACK, -1)):
        part = _shoot(body, dress(bare()), _camera(eye)).part
        columns = {name: np.nonzero(part == PART_ID[name])[1].mean() for name in ("left_thigh", "right_thigh", "torso")}
        assert side * (columns["left_thigh"] - columns["right_thigh"]) > 3
        rows = [
            np.nonzero(part == PART_ID[name])[0].mean() for name in ("hair", "head", "torso", "left_shin", "left_foot")
        ]
        assert rows == sorted(rows)


def test_supersampling_smooths_edges_and_keeps_the_silhouette(body: Body) -> None:
    frames = {s: _shoot(body, dress(bare()), supersample=s) for s in (1, 2, 4)}
    areas = [float(frame.alpha.sum()) for frame in frames.values()]
    np.testing.assert_allclose(areas, areas[-1], rtol=0.01)
    assert set(np.unique(frames[1].alpha).tolist()) == {0.0, 1.0}
    for s in (1, 2):
        difference = np.abs(frames[s].alpha - frames[4].alpha)
        assert difference.mean() < (0.02 if s == 1 else 0.006)
    with pytest.raises(ValueError, match="supersample is 5"):
        _shoot(body, dress(bare()), supersample=5)


def test_light_is_linear_and_comes_from_where_it_comes(body: Body) -> None:
    dark = dict.fromkeys(("sky", "ground"), (0.0, 0.0, 0.0))
    one = _shoot(body, dress(bare()), lights=Lights(colour=(0.2, 0.2, 0.2), **dark))
    two = _shoot(body, dress(bare()), lights=Lights(colour=(0.4, 0.4, 0.4), **dark))
    np.testing.assert_allclose(two.rgb, 2 * one.rgb, rtol=1e-5, atol=1e-7)
    left, right = (
        _shoot(body, dress(bare()), lights=Lights(direction=(x, 0.0, 0.2), wrap=0.0, **dark)).rgb for x in (1.0, -1.0)
    )
    assert left[:, 40:].sum() > 2 * left[:, :24].sum()
    assert right[:, :24].sum() > 2 * right[:, 40:].sum()
    sky = _shoot(
        body, dress(bare()), lights=Lights(colour=(0.0, 0.0, 0.0), sky=(1.0, 1.0, 1.0), ground=(0.0, 0.0, 0.0))
    )
    up = sky.normal[..., 1]
    full = (sky.alpha == 1) & (sky.part == PART_ID["torso"])
    assert np.corrcoef(sky.rgb[full][:, 0], up[full])[0, 1] > 0.99


def test_a_white_body_in_white_light_is_white(body: Body) -> None:
    white = dress(dict.fromkeys(bare(), Wear(upper=material("plain", (1.0, 1.0, 1.0)))))
    frame = _shoot(body, white, lights=Lights(colour=(0.0, 0.0, 0.0), sky=(1.0, 1.0, 1.0), ground=(1.0, 1.0, 1.0)))
    np.testing.assert_allclose(frame.rgb, np.repeat(frame.alpha[..., None], 3, axis=2), atol=1e-6)


def test_gloss_adds_light(body: Body) -> None:
    shiny = dress(dict.fromkeys(bare(), Wear(upper=material("plain", (0.2, 0.2, 0.2), roughness=0.0))))
    dull = dress(dict.fromkeys(bare(), Wear(upper=material("plain", (0.2, 0.2, 0.2)))))
    difference = _shoot(body, shiny).rgb - _shoot(body, dull).rgb
    assert difference.min() > -1e-6
    assert difference.max() > 0.05


def _sleeve(cut: float, **changes: float) -> Appearance:
    wear = bare()
    skin, shirt = wear["neck"].upper, material("plain", (0.0, 0.0, 1.0))
    for side in ("left", "right"):
        for name in ("upper_arm", "forearm", "hand"):
            wear[f"{side}_{name}"] = Wear(upper=shirt, lower=skin, cut=cut, **changes)
    return dress(wear)


def test_a_cut_ends_a_sleeve_where_it_says(body: Body) -> None:
    lights = Lights(colour=(0.0, 0.0, 0.0), sky=(1.0, 1.0, 1.0), ground=(1.0, 1.0, 1.0))
    lengths = []
    for cut in (0.0, 0.2, 0.5, 0.8, WHOLE):
        frame = _shoot(body, _sleeve(cut), lights=lights)
        blue = frame.rgb[..., 2] > 0.6 * frame.alpha + 0.01
        rows = np.nonzero(blue.any(axis=1))[0]
        lengths.append(len(rows))
    assert lengths[0] == 0
    assert lengths == sorted(lengths)
    assert lengths[3] == pytest.approx(0.57 / 0.715 * lengths[4], abs=3)  # wrist over fingertips, metres along the arm


def test_inflation_widens_the_silhouette_by_its_metres(body: Body) -> None:
    thin, thick = (_shoot(body, _sleeve(WHOLE, inflation=metres)).mask for metres in (0.0, 0.03))
    assert (thick >= thin).all()
    pixels_a_metre = 2.4 * 128 / 5
    left = [np.nonzero(mask.any(axis=0))[0].min() for mask in (thin, thick)]
    assert (left[0] - left[1]) / pixels_a_metre == pytest.approx(0.03, abs=0.02)
    flared = _shoot(body, _sleeve(0.8, flare=0.04)).mask
    assert (flared > 0).sum() > (thin > 0).sum()


def test_hair_is_cut_by_hiding_it(body: Body) -> None:
    areas = []
    for length in (0.0, 0.3, 0.6, 1.0):
        frame = _shoot(body, dress(bare(hair_length=length)), _camera(BACK))
        areas.append(int((frame.part == PART_ID["hair"]).sum()))
    assert areas[0] == 0
    assert areas == sorted(set(areas))
    upside_down = {
        **bare(),
        "hair": Wear(upper=material("hidden", (0.0, 0.0, 0.0)), lower=bare()["hair"].upper, cut=0.5),
    }
    tail = _shoot(body, dress(upside_down), _camera(BACK)).part == PART_ID["hair"]
    full = _shoot(body, dress(bare(hair_length=1.0)), _camera(BACK)).part == PART_ID["hair"]
    assert 0 < tail.sum() < full.sum()
    assert np.nonzero(tail)[0].min() > np.nonzero(full)[0].min() + 3


def test_a_body_out_of_sight_leaves_an_empty_picture(body: Body) -> None:
    away = look_at((0.0, 0.9, 5.0), (0.0, 0.9, 9.0), focal=300.0, height=32, width=16)
    for camera in (away, _camera().crop(-500.0, 0.0, -400.0, 128.0, height=32, width=16)):
        frame = _shoot(body, dress(bare()), camera)
        assert not frame.mask.any()
        assert not frame.rgb.any()
        assert np.isinf(frame.depth).all()


def test_a_crop_sees_what_the_whole_picture_sees(body: Body) -> None:
    whole = _shoot(body, dress(bare()))
    camera = _camera().crop(16.0, 32.0, 48.0, 96.0, height=64, width=32)
    part = _shoot(body, dress(bare()), camera)
    np.testing.assert_array_equal(part.part, whole.part[32:96, 16:48])
    np.testing.assert_allclose(part.rgb, whole.rgb[32:96, 16:48], atol=1e-6)


def test_the_same_call_gives_the_same_bytes(body: Body) -> None:
    first, second = (_shoot(body, dress(bare())) for _ in range(2))
    for name, array in vars(first).items():
        assert array.tobytes() == getattr(second, name).tobytes(), name


def test_compiled_and_plain_python_give_the_same_bytes(tmp_path: Path) -> None:
    fast, plain = tmp_path / "fast.npz", tmp_path / "plain.npz"
    plain_body.main(str(fast))
    program = [sys.executable, "-m", "tests.rendering.plain_body", str(plain)]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run(program, check=True, env=environment, cwd=Path(__file__).parents[2], timeout=120)
    with np.load(fast) as compiled, np.load(plain) as interpreted:
        assert (compiled["mask"] > 0).sum() > 100
        for name in compiled.files:
            np.testing.assert_array_equal(compiled[name], interpreted[name], err_msg=name)


def test_a_foreign_body_without_parts_can_be_drawn(body: Body) -> None:
    """A body of skin only, with everything in one part."""
    plain = replace(body, face_part=np.ones_like(body.face_part), along=np.zeros_like(body.along))
    frame = _shoot(plain, dress(bare()))
    assert set(np.unique(frame.part).tolist()) == {0, 1}
