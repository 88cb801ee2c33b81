"""Configs survive every form they travel in, and every mistake is answered with a path and a cure."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.trainers import schema
from resight.trainers.config import (
    Config,
    diff,
    dump_yaml,
    fingerprint,
    from_dict,
    load_yaml,
    parse_yaml,
    scratch,
    to_dict,
    with_overrides,
)
from resight.trainers.recipes import recipe

TINY = recipe("strong_baseline", "tiny")


def _caught(call: Any, *arguments: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("size", ["paper", "small", "tiny"])
def test_a_config_comes_back_equal_from_every_form(size: Any, tmp_path: Path) -> None:
    config = recipe("strong_baseline", size)
    assert from_dict(to_dict(config)) == config
    assert parse_yaml(dump_yaml(config)) == config
    assert pickle.loads(pickle.dumps(config)) == config
    (tmp_path / "config.yaml").write_text(dump_yaml(config))
    assert load_yaml(tmp_path / "config.yaml") == config
    assert fingerprint(parse_yaml(dump_yaml(config))) == fingerprint(config)


@settings(deadline=None)
@example(lr=1.0, margin=None, sources=["\x85", "a\u2028b", "\u2029", "n\n"])
@given(
    st.floats(1e-9, 10), st.one_of(st.none(), st.floats(0, 9)), st.lists(st.text(min_size=1, max_size=5), max_size=3)
)
def test_any_values_come_back_equal_from_yaml(lr: float, margin: float | None, sources: list[str]) -> None:
    config = with_overrides(TINY, {"optim.lr": lr, "method.triplet.margin": margin, "data.sources": sources})
    assert config.optim.lr == lr
    assert config.data.sources == tuple(sources)
    assert parse_yaml(dump_yaml(config)) == config


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.optim.lr = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("optim.lr", "1e-3", 1e-3),
        ("optim.lr", 1, 1.0),
        ("run.epochs", "7", 7),
        ("engine.compile", "true", True),
        ("engine.kind", "ddp", "ddp"),
        ("method.triplet.margin", None, None),
        ("method.triplet.margin", "0.5", 0.5),
        ("schedule.milestones", [3, "5"], (3, 5)),
        ("sampler.steps_per_epoch", 4, 4),
        ("data.sources", ["a:2", "b"], ("a:2", "b")),
        ("model.weights", "5", "5"),
    ],
)
def test_overrides_are_read_by_type(path: str, text: Any, wanted: Any) -> None:
    value: Any = with_overrides(TINY, {path: text})
    for name in path.split("."):
        value = getattr(value, name)
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        ("optim.lrr", 1, "optim.lrr", "did you mean 'optim.lr'?"),
        ("optm.lr", 1, "optm.lr", "did you mean 'optim.lr'?"),
        ("optim.lr.x", 1, "optim.lr.x", "optim.lr"),
        ("optim.lr", "fast", "optim.lr", "optim.lr must be a number, not the text 'fast'"),
        ("optim.lr", True, "optim.lr", "must be a number"),
        ("optim.lr", "nan", "optim.lr", "must be a number"),
        ("optim.lr", None, "optim.lr", "must be a number"),
        ("run.epochs", 0.5, "run.epochs", "must be a whole number"),
        ("run.epochs", "--5", "run.epochs", "must be a whole number"),
        ("run.epochs", True, "run.epochs", "must be a whole number"),
        ("engine.compile", 1, "engine.compile", "must be true or false"),
        ("engine.kind", "dpp", "engine.kind", "did you mean 'ddp'?"),
        ("model.depth", 51, "model.depth", "50"),
        ("optim.betas", [0.9], "optim.betas", "a list of 2 entries"),
        ("optim.betas", 0.9, "optim.betas", "a list"),
        ("schedule.milestones", [1, "x"], "schedule.milestones.1", "a whole number"),
        ("data.sources", "market1501", "data.sources", "a list"),
        ("optim", 3, "optim", "a mapping"),
        ("run.epochs", 0, "run.epochs", "at least 1"),
        ("data.val_ids", 1.5, "data.val_ids", "between 0 and 0.9"),
        ("engine.threads", 0, "engine.threads", "at least 1"),
        ("seed", -1, "seed", "between"),
    ],
)
def test_a_wrong_override_is_answered_with_its_path(path: str, value: Any, where: str, words: str) -> None:
    error = _caught(with_overrides, TINY, {path: value})
    assert error.where == where
    assert words in str(error)


def test_an_unknown_key_and_a_missing_one_are_named() -> None:
    tree = to_dict(TINY)
    tree["optim"]["lrr"] = tree["optim"].pop("lr")
    assert _caught(from_dict, tree).where == "optim.lrr"
    assert "did you mean 'lr'?" in str(_caught(from_dict, tree))
    tree = to_dict(TINY)
    del tree["run"]["epochs"]
    assert _caught(from_dict, tree).where == "run.epochs"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optim: {lr: 1\n", "not readable YAML"),
        ("seed: 1\nseed: 2\n", "stands twice"),
        ("- 1\n", "a mapping"),
        ("!!python/object/apply:os.getcwd []\n", "not readable YAML"),
        ("seed: 1\n", "recipe is missing"),
        ("recipe: a\nsize: tiny\ndata: {vall_ids: 0}\n", "did you mean 'val_ids'?"),
    ],
)
def test_a_wrong_file_is_answered_with_its_name(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    error = _caught(load_yaml, path)
    assert str(path) in error.where
    assert words in str(error)


def test_a_missing_file_is_an_error_with_a_cure(tmp_path: Path) -> None:
    assert "config.yaml" in _caught(load_yaml, tmp_path / "none.yaml").cure


def test_yaml_reads_scientific_numbers_without_a_point() -> None:
    text = dump_yaml(TINY).replace("lr: 0.003", "lr: 3e-3")
    assert "lr: 3e-3" in text
    assert parse_yaml(text) == TINY


def test_diff_names_what_differs_and_can_leave_placement_out() -> None:
    other = with_overrides(TINY, {"optim.lr": 1, "data.threads": 9, "schedule.milestones": [1]})
    assert diff(TINY, other) == {
        "data.threads": (2, 9),
        "optim.lr": (TINY.optim.lr, 1.0),
        "schedule.milestones": (list(TINY.schedule.milestones), [1]),
    }
    assert "data.threads" not in diff(TINY, other, placement=False)
    assert diff(TINY, TINY) == {}


@pytest.mark.parametrize(
    "path", ["data.threads", "engine.kind", "engine.device", "run.keep_last", "run.log_every_steps"]
)
def test_placement_does_not_change_the_fingerprint(path: str) -> None:
    values = {"engine.kind": "ddp", "engine.device": "cpu"}
    other = with_overrides(TINY, {path: values.get(path, 7)})
    assert other != TINY
    assert fingerprint(other) == fingerprint(TINY)


@pytest.mark.parametrize("path", ["seed", "engine.threads", "run.epochs", "optim.weight_decay", "augment.pad"])
def test_everything_else_does(path: str) -> None:
    assert fingerprint(with_overrides(TINY, {path: 17})) != fingerprint(TINY)


def test_scratch_forgets_the_pretrained_weights_only() -> None:
    paper = recipe("strong_baseline", "paper")
    assert paper.model.weights is not None
    assert set(diff(paper, scratch(paper))) == {"model.weights"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Circle:
    kind: Literal["circle"] = "circle"
    margin: float = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Triplet:
    kind: Literal["triplet"] = "triplet"
    margin: float = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Odd:
    loss: _Circle | _Triplet
    amount: int | str | None = None
    shares: dict[str, float] = dataclasses.field(default_factory=dict[str, float])


def test_a_union_is_told_apart_by_its_kind_and_keeps_its_own_defaults() -> None:
    odd = schema.build(_Odd, {"loss": {"kind": "circle"}, "amount": "many", "shares": {"a": "1"}})
    assert odd == _Odd(loss=_Circle(), amount="many", shares={"a": 1.0})
    assert schema.build(_Odd, schema.plain(odd)) == odd
    assert schema.build(_Odd, {"loss": {"kind": "triplet"}, "amount": 3}).amount == 3


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        ({"loss": {"margin": 0.3}}, "loss.kind"),
        ({"loss": {"kind": "cirle"}}, "loss.kind"),
        ({"loss": {"kind": "circle", "gamma": 1}}, "loss.gamma"),
        ({"loss": {"kind": "circle"}, "amount": 0.5}, "amount"),
        ({"loss": {"kind": "circle"}, "shares": [1]}, "shares"),
        ([], ""),
    ],
)
def test_a_wrong_union_is_an_error(tree: Any, where: str) -> None:
    assert where in _caught(schema.build, _Odd, tree).where


def test_every_field_of_every_component_is_documented() -> None:
    """The command line's help is made of these texts."""

    def undocumented(kind: Any) -> list[str]:
        text = kind.__doc__ or ""
        hints = [part for hint in schema.fields_of(kind).values() for part in (hint, *get_args(hint))]
        inner = [hint for hint in hints if dataclasses.is_dataclass(hint)]
        missing = [f"{kind.__name__}.{name}" for name in schema.fields_of(kind) if name not in text]
        return missing + [name for part in inner for name in undocumented(part)]

    assert undocumented(Config) == []
