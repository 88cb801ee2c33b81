import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.cluster.units import Unit, canonical_json, check_names, settings_of, spec_hash

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(value=PLAIN)
def test_canonical_json_reads_back(value: object):
    assert json.loads(canonical_json(value)) == value


@given(spec=st.dictionaries(st.text(max_size=5), PLAIN, max_size=6), seed=st.randoms())
def test_the_order_of_keys_does_not_matter(spec: dict[str, object], seed: Random):
    keys = list(spec)
    seed.shuffle(keys)
    shuffled = {key: spec[key] for key in keys}
    assert spec_hash(Unit(name="a", spec=spec), "1") == spec_hash(Unit(name="b", spec=shuffled), "1")


@given(one=PLAIN, other=PLAIN)
def test_different_specifications_differ(one: object, other: object):
    same = canonical_json(one) == canonical_json(other)
    hashes = [spec_hash(Unit(name="a", spec={"x": value}), "1") for value in (one, other)]
    assert (hashes[0] == hashes[1]) == same


def test_the_fingerprint_counts():
    unit = Unit(name="a", spec={})
    assert spec_hash(unit, "1") != spec_hash(unit, "2")


def test_the_hash_never_changes():
    unit = Unit(name="any", spec={"seed": 3, "range": [0, 10], "scale": 0.5, "name": "é"})
    assert spec_hash(unit, "render-1") == "a095d4221f9fc518bd9ea0eed291826081e3f410a9492b35d9f5f6bee820a1e5"


@pytest.mark.parametrize("value", [float("nan"), {1: "a"}, [{"a": {2: 3}}], object(), {"a": {1, 2}}, b"bytes"])
def test_what_json_cannot_hold_is_refused(value: object):
    with pytest.raises(UserError, match="not a plain JSON value") as caught:
        spec_hash(Unit(name="train-1", spec={"x": value}), "1")
    assert "'train-1'" in caught.value.where


def test_long_settings_stand_as_hashes():
    settings = settings_of(Unit(name="a", spec={"b": list(range(1000)), "a": 1}))
    assert list(settings) == ["a", "b"]
    assert settings["a"] == "1"
    assert settings["b"].startswith("sha256:")


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b", "ü", "x" * 201])
def test_unsafe_names_are_refused(name: str):
    with pytest.raises(ValueError, match="not safe as a file name"):
        check_names([Unit(name=name, spec={})])


def test_names_are_used_once():
    with pytest.raises(ValueError, match="used twice"):
        check_names([Unit(name="a", spec={}), Unit(name="a", spec={"x": 1})])
