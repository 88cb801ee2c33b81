"""Measures of bodies whose size is known, and words that follow the measures."""

import numpy as np
import pytest

from resight.rendering.bodies import find_body
from resight.rendering.body import Body
from resight.rendering.capsule import capsule_body
from resight.rendering.measure import AXES, THRESHOLDS, measurements, shape_words
from resight.rendering.wordscale import word_scale

COMPONENTS = ("size", "girth", "shoulders", "hips", "legs", "torso", "arms", "belly", "chest", "limbs")


@pytest.fixture(scope="module")
def body() -> Body:
    return capsule_body()


@pytest.fixture(scope="module")
def mean(body: Body) -> dict[str, float]:
    return measurements(body, np.zeros(10))


def _of(body: Body, **deviations: float) -> dict[str, float]:
    return measurements(body, np.array([deviations.get(name, 0.0) for name in COMPONENTS]))


def test_the_mean_body_is_an_adult(mean: dict[str, float]) -> None:
    plausible = {
        "height": (1.65, 1.80), "leg_length": (0.80, 0.95), "torso_length": (0.42, 0.58), "arm_length": (0.48, 0.62),
        "shoulder_width": (0.40, 0.50), "hip_width": (0.30, 0.40), "chest_girth": (0.85, 1.05),
        "waist_girth": (0.70, 0.90), "belly_girth": (0.70, 0.95), "hip_girth": (0.88, 1.05),
        "neck_girth": (0.30, 0.42), "thigh_girth": (0.48, 0.62), "calf_girth": (0.30, 0.42),
        "upper_arm_girth": (0.24, 0.34), "chest_depth": (0.18, 0.28), "belly_depth": (0.16, 0.28),
        "neck_length": (0.06, 0.13),
    }  # fmt: skip
    assert set(mean) == set(plausible)
    for name, (low, high) in plausible.items():
        assert low < mean[name] < high, name


def test_height_is_that_of_the_skull_not_of_the_hair(body: Body, mean: dict[str, float]) -> None:
    assert mean["height"] < np.ptp(body.v_template[:, 1]) - 0.01


def test_a_girth_is_the_length_of_a_tape(body: Body, mean: dict[str, float]) -> None:
    """An upper arm is nearly an ellipse whose half axes we know: Ramanujan's perimeter, to 3 %."""
    a, b = 0.047, 0.051
    expected = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
    assert mean["upper_arm_girth"] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("component", "grows", "stays"),
    [
        ("girth", "waist_girth", "leg_length"),
        ("shoulders", "shoulder_width", "waist_girth"),
        ("hips", "hip_girth", "chest_girth"),
        ("legs", "leg_length", "torso_length"),
        ("torso", "torso_length", "leg_length"),
        ("arms", "arm_length", "height"),
        ("belly", "belly_girth", "thigh_girth"),
        ("chest", "chest_girth", "belly_girth"),
        ("limbs", "thigh_girth", "chest_girth"),
    ],
)
def test_each_component_changes_what_it_is_named_after(
    body: Body, mean: dict[str, float], component: str, grows: str, stays: str
) -> None:
    changed = _of(body, **{component: 2.0})
    assert changed[grows] > 1.03 * mean[grows]
    assert changed[stays] == pytest.approx(mean[stays], rel=0.02)


def test_size_scales_every_length_alike(body: Body, mean: dict[str, float]) -> None:
    ratios = [value / mean[name] for name, value in _of(body, size=2.0).items()]
    np.testing.assert_allclose(ratios, 1.07, rtol=2e-3)


def test_one_word_an_axis_and_all_words_occur(body: Body) -> None:
    assert len(AXES) == 16
    rng = np.random.default_rng(0)
    seen: dict[str, set[str]] = {axis: set() for axis in AXES}
    for _ in range(90):
        words = shape_words(measurements(body, rng.normal(size=10)))
        assert len(words) == 16
        for (axis, options), word in zip(AXES.items(), words, strict=True):
            assert word in options
            seen[axis].add(word)
    assert {axis: set(options) for axis, options in AXES.items()} == seen
    assert len({word for options in AXES.values() for word in options}) == sum(map(len, AXES.values()))


@pytest.mark.parametrize(
    ("deviations", "words"),
    [
        ({"size": 1.6}, {"tall", "sturdy"}),
        ({"size": -1.6}, {"short", "petite"}),
        ({"girth": 2.0, "belly": 1.5}, {"heavyset", "thick waist", "round belly", "apple-shaped"}),
        ({"girth": -2.0}, {"skinny", "slim waist", "flat chest"}),
        ({"shoulders": 2.0, "hips": -1.5}, {"broad shoulders", "inverted-triangle", "narrow hips"}),
        ({"hips": 2.2, "shoulders": -1.0}, {"wide hips", "pear-shaped", "narrow shoulders"}),
        ({"legs": 1.5, "torso": -1.5}, {"long legs", "short torso", "short neck"}),
        ({"limbs": 2.0}, {"thick legs", "thick arms"}),
        ({"chest": 2.0, "belly": -1.0}, {"deep chest", "muscular"}),
        ({"arms": 2.0}, {"long arms"}),
        ({}, {"average height", "average build", "average shoulders", "average frame"}),
    ],
)
def test_words_say_what_was_changed(body: Body, deviations: dict[str, float], words: set[str]) -> None:
    assert words <= set(shape_words(_of(body, **deviations)))


def test_measuring_needs_a_body_that_the_planes_meet(body: Body) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="misses the body"):
        measurements(replace(body, face_part=np.ones_like(body.face_part)), np.zeros(10))


def test_lengths_of_the_capsule_body_are_those_of_its_tables(mean: dict[str, float]) -> None:
    """Closed form: bones are given by their lengths, the skull by its ends, joints by their heights."""
    upper = 0.285 * np.linalg.norm([0.3420, -0.9397, 0.0])
    lower = 0.255 * np.linalg.norm([0.3050, -0.9480, 0.0900])
    assert mean["arm_length"] == pytest.approx(upper + lower, abs=2e-6)
    assert mean["neck_length"] == pytest.approx(np.hypot(1.520 - 1.430, 0.022 - 0.006), abs=2e-3)
    assert mean["height"] == pytest.approx(1.718, abs=3e-3)
    assert mean["leg_length"] == pytest.approx(0.880, abs=3e-3)


def test_a_body_that_rests_with_spread_arms_is_measured_with_hanging_ones() -> None:
    """Shoulders are as wide as shoulders, not as wide as arms reach."""
    body = find_body("anny")
    assert np.ptp(body.v_template[:, 0]) > 0.95
    assert 0.42 < measurements(body, np.zeros(10))["shoulder_width"] < 0.52


def test_a_scale_of_words_gives_every_word_to_somebody() -> None:
    body = find_body("anny")
    rng = np.random.default_rng(5)
    people = [
        shape_words(measurements(body, np.clip(rng.standard_normal(10), -2.5, 2.5)), body.word_scale) for _ in range(60)
    ]
    for place, (axis, words) in enumerate(AXES.items()):
        used = {person[place] for person in people}
        assert used <= set(words)
        assert len(used) >= min(3, len(words)), axis
        share = max(sum(person[place] == word for person in people) for word in words) / len(people)
        assert share < 0.75, axis


def test_words_of_a_body_model_are_relative_to_its_people() -> None:
    found = word_scale(capsule_body(), people=40)
    for axis, levels in THRESHOLDS.items():
        assert len(found[axis]) == len(levels)
        if axis != "silhouette":
            np.testing.assert_allclose(found[axis], levels, rtol=0.12)
            assert list(found[axis]) == sorted(found[axis])
