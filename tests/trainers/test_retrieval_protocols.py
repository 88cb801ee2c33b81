"""Every protocol against its definition in slow loops, by hand on small cases, and what each refuses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import resight
from resight.cluster.errors import UserError
from resight.trainers.retrieval.blocks import GivenRows
from resight.trainers.retrieval.chance import chance_metrics
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.metrics import Metrics, evaluate_labelled, evaluate_rows
from resight.trainers.retrieval.protocol import PROTOCOLS, EvalProtocol, find_protocol
from resight.trainers.retrieval.ranking import rank_labelled
from resight.trainers.retrieval.scoring import Scoring
from tests.reference import retrieval as reference
from tests.reference.retrieval import Image

MODES = ("no_camera", "market1501", "clothes_changed", "clothes_same", "clothes_changed_literal", "deepchange")
TRAPEZOID = Scoring(ap="trapezoid")


def labels(images: Sequence[Image]) -> Labels:
    columns = np.array(images, np.int64).reshape(-1, 4)
    return Labels(pid=columns[:, 0], camid=columns[:, 1], outfit=columns[:, 2], tracklet=columns[:, 3])


def run(
    distances: Any, queries: Sequence[Image], gallery: Sequence[Image], protocol: str | EvalProtocol, **options: Any
) -> Metrics:
    rules = find_protocol(protocol) if isinstance(protocol, str) else protocol
    rows = GivenRows(np.asarray(distances, np.float64))
    return evaluate_rows(rows, labels(queries), labels(gallery), protocol=rules, max_skipped=1.0, **options)


def image(pid: int, camera: int, clothes: int, track: int) -> Image:
    """Clothes and tracks are numbered over the whole data set; people have both."""
    return Image(pid, camera, 10 * pid + clothes if pid >= 0 else -1, 100 * pid + track if pid >= 0 else -1)


@st.composite
def problems(draw: st.DrawFn, *, most: int = 16) -> tuple[np.ndarray, list[Image], list[Image]]:
    """Few distances, so many ties; junk, distractors, unknown cameras, queries that nothing matches."""
    rest = st.integers(-1, 2), st.integers(0, 2), st.integers(0, 2)
    queries = draw(st.lists(st.builds(image, st.integers(-1, 3), *rest), min_size=1, max_size=6))
    gallery = draw(st.lists(st.builds(image, st.integers(-2, 3), *rest), min_size=1, max_size=most))
    count = len(queries) * len(gallery)
    values = draw(st.lists(st.integers(-2, 2), min_size=count, max_size=count))
    return np.array(values, np.float64).reshape(len(queries), len(gallery)), queries, gallery


def agrees(found: Metrics, wanted: dict[str, Any]) -> None:
    for name in ("mAP", "mINP", "rank1"):
        assert getattr(found, name) == pytest.approx(wanted[name], abs=1e-12), name
    for at, name in enumerate(("ap", "inp", "top1")):
        each = [np.nan if one is None else one[at] for one in wanted["each"]]
        np.testing.assert_allclose(getattr(found, name), each, rtol=0, atol=1e-12, err_msg=name)


@given(problems(), st.sampled_from(MODES), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=300)
def test_every_mode_equals_its_definition(
    problem: tuple[np.ndarray, list[Image], list[Image]], mode: str, trapezoid: bool, count: bool
) -> None:
    wanted = reference.judge(*problem, mode, trapezoid=trapezoid, count_unmatched=count)
    scoring = Scoring(ap="trapezoid" if trapezoid else "rectangle", unmatched="count" if count else "skip")
    if all(one is None or one[1] == 0 for one in wanted["each"]):
        with pytest.raises(UserError, match="no possible match"):
            run(*problem, mode, scoring=scoring)
    else:
        agrees(run(*problem, mode, scoring=scoring), wanted)


@given(problems(), st.integers(0, 3), st.integers(2, 4))
@settings(deadline=None, max_examples=150)
def test_single_shot_draws_what_the_definition_draws(
    problem: tuple[np.ndarray, list[Image], list[Image]], seed: int, repeats: int
) -> None:
    distances, queries, gallery = problem
    draws = [
        reference.judge(distances, queries, gallery, "market1501", order=reference.drawn_order(gallery, seed, repeat))
        for repeat in range(repeats)
    ]
    options = {"scoring": Scoring(seed=seed, repeats=repeats)}
    if draws[0]["mAP"] is None:
        with pytest.raises(UserError, match="no possible match"):
            run(*problem, "single_shot", **options)
        return
    found = run(*problem, "single_shot", **options)
    assert found.repeats == repeats
    for name in ("mAP", "mINP", "rank1"):
        values = [draw[name] for draw in draws]
        assert getattr(found, name) == pytest.approx(np.mean(values), abs=1e-12)
        wanted = {"std": np.std(values, ddof=1), "min": min(values), "max": max(values)}
        assert found.spread[name] == pytest.approx(wanted, abs=1e-12)


@given(st.integers(0, 500), st.integers(3, 14))
@settings(deadline=None, max_examples=60)
def test_the_rest_asks_what_was_drawn(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    images = [Image(int(pid), -1) for pid in np.r_[0, 0, rng.integers(0, 3, size)]]
    distances = rng.integers(0, 4, (len(images), len(images))).astype(np.float64)
    draws: list[dict[str, Any]] = []
    for repeat in range(3):
        order = reference.drawn_order(images, seed, repeat)
        drawn = {next(j for j in order if images[j].pid == pid) for pid in {one.pid for one in images}}
        asked = [i not in drawn for i in range(len(images))]
        draws.append(reference.judge(distances, images, images, "no_camera", order=order, asked=asked, apart=True))
    rules = replace(find_protocol("vehicleid_800"), identities=None)
    found = run(distances, images, images, rules, scoring=Scoring(seed=seed, repeats=3))
    assert found.mAP == pytest.approx(np.mean([draw["mAP"] for draw in draws]), abs=1e-12)
    assert found.rank1 == pytest.approx(np.mean([draw["rank1"] for draw in draws]), abs=1e-12)
    assert found.skipped == {}


@given(problems(most=6), st.sampled_from(MODES), st.booleans())
@settings(deadline=None, max_examples=120)
def test_tie_bounds_equal_a_search_through_every_order(
    problem: tuple[np.ndarray, list[Image], list[Image]], mode: str, trapezoid: bool
) -> None:
    distances, queries, gallery = problem
    bounds = [
        reference.tie_bounds(distances[i].tolist(), query, gallery, mode, trapezoid=trapezoid)
        for i, query in enumerate(queries)
    ]
    known = [one for one in bounds if one is not None]
    if not known:
        return
    found = run(*problem, mode, scoring=Scoring(ap="trapezoid" if trapezoid else "rectangle", tie_bounds=True))
    for at, name in enumerate(("mAP", "mINP", "rank1")):
        wanted = [sum(one[at][side] for one in known) / len(known) for side in (0, 1)]
        assert list(found.bounds[name]) == pytest.approx(wanted, abs=1e-12)
        assert wanted[0] - 1e-12 <= getattr(found, name) <= wanted[1] + 1e-12


def test_average_precision_by_hand() -> None:
    """Right answers at ranks 2 and 4 of 5.

    Rectangles: (1/2 + 2/4) / 2 = 0.5.
    Trapezoids: recall grows at rank 2 (precision 0 at rank 1, 1/2 at rank 2: mean 1/4) and at rank 4 (1/3 and 2/4: mean
    5/12), half each: (1/4 + 5/12) / 2 = 1/3. INP = 2 / 4.
    """
    gallery = [Image(pid, 1) for pid in (9, 1, 8, 1, 7)]
    distances = [[1.0, 2.0, 3.0, 4.0, 5.0]]
    found = run(distances, [Image(1, 0)], gallery, "market1501")
    assert (found.mAP, found.mINP, found.rank1) == (0.5, 0.5, 0.0)
    assert run(distances, [Image(1, 0)], gallery, "market1501", scoring=TRAPEZOID).mAP == pytest.approx(1 / 3)


def test_unmatched_queries_by_hand() -> None:
    """The first finds its one answer at rank 1, the second has none: AP (1) / 1 when skipped, (1 + 0) / 2 counted."""
    queries, gallery = [Image(1, 0), Image(2, 0)], [Image(1, 1), Image(3, 1)]
    skipped = run([[0, 1], [0, 1]], queries, gallery, "market1501")
    counted = run([[0, 1], [0, 1]], queries, gallery, "market1501", scoring=Scoring(unmatched="count"))
    assert (skipped.mAP, skipped.rank1) == (1, 1)
    assert (counted.mAP, counted.mINP, counted.rank1, counted.cmc[-1]) == (0.5, 0.5, 0.5, 0.5)
    assert skipped.skipped == counted.skipped == {"identity not in the gallery": 1}
    assert chance_metrics(counted).mAP == pytest.approx(chance_metrics(skipped).mAP / 2)


STRANGER = Image(2, 1, 20)
CLOTHES = [  # the query is identity 1 before camera 0 in clothes 10; answers in order of distance
    Image(1, 0, 10), STRANGER, Image(1, 0, 11), STRANGER, Image(1, 1, 10), STRANGER, Image(1, 1, 11)
]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "ap", "ranked"),
    [
        # both of camera 0 are gone, s s a s b is left: answers at ranks 3 and 5
        ("clothes_general", (1 / 3 + 2 / 5) / 2, 5),
        # only b, another camera and other clothes, is left: s s s b
        ("clothes_changed", 1 / 4, 4),
        # only a, another camera and the same clothes: s s a s
        ("clothes_same", 1 / 3, 4),
        # only the first, the same camera and the same clothes at once, is gone: ranks 2, 4 and 6
        ("clothes_changed_literal", (1 / 2 + 2 / 4 + 3 / 6) / 3, 6),
        # nothing is gone: ranks 1, 3, 5 and 7
        ("no_camera", (1 + 2 / 3 + 3 / 5 + 4 / 7) / 4, 7),
    ],
)
def test_clothes_by_hand(protocol: str, ap: float, ranked: int) -> None:
    found = run([range(7)], [Image(1, 0, 10)], CLOTHES, protocol)
    assert found.mAP == pytest.approx(ap)
    assert found.ranked.tolist() == [ranked]


def test_prcc_by_hand() -> None:
    """Camera 0 is A (gallery), 1 is B (same clothes), 2 is C (other clothes).

    B's query has its answer at rank 1 of A's two images, C's at rank 2; images of B and C in the gallery do not count.
    """
    queries = [Image(1, 1, 10), Image(1, 2, 11)]
    gallery = [Image(1, 0, 10), Image(2, 0, 20), Image(1, 1, 10), Image(1, 2, 11)]
    distances = [[1, 2, 0, 0], [2, 1, 0, 0]]
    same, cross = (run(distances, queries, gallery, name) for name in ("prcc_same", "prcc_cross"))
    assert (same.mAP, cross.mAP) == (1.0, 0.5)
    assert same.queries == cross.queries == 1
    assert same.ranked[0] == cross.ranked[1] == 2
    one = run(distances, queries, gallery, "prcc_cross_single_shot")
    assert (one.mAP, one.repeats, one.spread["mAP"]["std"]) == (0.5, 10, 0.0)


def test_a_single_shot_draw_by_hand() -> None:
    """Answers before and behind a stranger: whichever is drawn, AP is 1 or 1/2, half and half: 3/4 on average."""
    gallery = [Image(1, 1), Image(2, 1), Image(1, 1)]
    found = run([[0, 1, 2]], [Image(1, 0)], gallery, "single_shot", scoring=Scoring(repeats=64))
    assert found.spread["mAP"]["min"] == 0.5
    assert found.spread["mAP"]["max"] == 1.0
    assert found.mAP == pytest.approx(0.75, abs=4 * 0.25 / np.sqrt(64))
    again = run([[0, 1, 2]], [Image(1, 0)], gallery, "single_shot", scoring=Scoring(repeats=64))
    assert again.mAP == found.mAP
    other = run([[0, 1, 2]], [Image(1, 0)], gallery, "single_shot", scoring=Scoring(repeats=64, seed=1))
    assert other.mAP != found.mAP


def test_ties_by_hand() -> None:
    """The answer and two strangers at one distance: rank 1, 2 or 3, so AP from 1/3 to 1; by gallery index it is 2."""
    found = run([[0, 0, 0]], [Image(1, 0)], [Image(2, 1), Image(1, 1), Image(3, 1)], "market1501",
                scoring=Scoring(tie_bounds=True))  # fmt: skip
    assert found.mAP == 0.5
    assert found.bounds == {"mAP": (1 / 3, 1.0), "mINP": (1 / 3, 1.0), "rank1": (0.0, 1.0)}
    assert found.to_dict()["tie_bounds"]["mAP"] == [1 / 3, 1.0]


@given(st.integers(1, 3), st.integers(0, 4))
def test_chance_by_trapezoids_is_the_mean_over_all_orders(right: int, wrong: int) -> None:
    gallery = [Image(1, 1)] * right + [Image(2, 1)] * wrong
    found = chance_metrics(run([[0] * len(gallery)], [Image(1, 0)], gallery, "market1501", scoring=TRAPEZOID))
    wanted = reference.chance_by(reference.trapezoids, right, right + wrong)
    assert found.mAP == pytest.approx(wanted, abs=1e-12)


def test_what_is_shown_is_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    gallery = [
        Image(int(pid), int(camera)) for pid, camera in zip(rng.integers(0, 5, 40), rng.integers(0, 2, 40), strict=True)
    ]
    queries = [Image(pid, 0) for pid in range(5)]
    features = rng.standard_normal((45, 4)).astype(np.float32)
    rules = find_protocol("single_shot")
    sides = labels(queries), labels(gallery)
    metrics = evaluate_labelled(
        features[:5], features[5:], *sides, protocol=rules, scoring=Scoring(seed=3, repeats=1), max_skipped=1.0
    )
    indices, _ = rank_labelled(features[:5], features[5:], *sides, 40, protocol=rules, seed=3)
    for query, (row, first) in enumerate(zip(indices, metrics.first_hit, strict=True)):
        shown = [gallery[at].pid for at in row if at >= 0]
        assert len(set(shown)) == len(shown) == metrics.ranked[query]
        assert first == (shown.index(query) + 1 if query in shown else 0)


@pytest.mark.parametrize(
    ("protocol", "queries", "gallery", "message", "cure"),
    [
        ("clothes_changed", [Image(1, 0)], [Image(1, 1)], "1 of 1 query images .* no label 'outfit'", "outfit"),
        ("clothes_same", [Image(1, 0, 1)], [Image(1, 1, 1), Image(2, 1)], "1 of 2 gallery images", "outfit"),
        ("deepchange", [Image(1, 0, 1)], [Image(1, 1)], "no label 'tracklet'", "tracklet"),
        ("prcc_same", [Image(1, 5)], [Image(1, 0)], "no query image is of camera 1, there are: 5", "another|this"),
        ("vehicleid_800", [Image(1, 5)] * 2, [Image(1, 5)] * 2, "1 identities, the published one 800", "list"),
        ("vehicleid_800", [Image(1, 5)], [Image(1, 5)] * 2, "the 1 query images are not the 2", "same images"),
    ],
)  # fmt: skip
def test_labels_that_a_protocol_needs(
    protocol: str, queries: list[Image], gallery: list[Image], message: str, cure: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(np.zeros((len(queries), len(gallery))), queries, gallery, protocol)
    assert protocol in caught.value.where
    assert any(word in caught.value.cure for word in cure.split("|"))


def test_junk_and_distractors_need_no_clothes() -> None:
    gallery = [Image(-1, 1), Image(-2, 1), Image(1, 1, 11)]
    assert run([[0, 1, 2]], [Image(1, 0, 10)], gallery, "clothes_changed").mAP == 0.5


def test_nobody_to_ask_and_nothing_to_find_name_the_cure() -> None:
    alone = [Image(1, -1), Image(2, -1)]
    with pytest.raises(UserError, match="leaves nobody to ask") as caught:
        run(np.zeros((2, 2)), alone, alone, replace(find_protocol("vehicleid_800"), identities=2))
    assert "two images" in caught.value.cure
    with pytest.raises(UserError, match="1 of 1 queries have no possible match") as caught:
        run([[0]], [Image(1, 0, 5)], [Image(1, 1, 5)], "clothes_changed")
    assert "--protocol market1501" in caught.value.cure


def test_choices_that_make_no_sense_are_refused() -> None:
    one = [Image(1, 0)], [Image(1, 1)]
    with pytest.raises(UserError, match="draws nothing") as caught:
        run([[0]], *one, "market1501", scoring=Scoring(repeats=3))
    assert "single_shot" in caught.value.cure
    with pytest.raises(UserError, match="repeats is 0"):
        run([[0]], *one, "single_shot", scoring=Scoring(repeats=0))
    wrong: Any = "triangle"
    with pytest.raises(UserError, match="'triangle'"):
        Scoring(ap=wrong)


def test_every_protocol_says_where_it_is_from() -> None:
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert protocol.source
        assert protocol.repeats == 1 or protocol.gallery == "one"
        assert all(rule.same or rule.other for rule in protocol.drop)
        assert {field for rule in protocol.drop for field in (*rule.same, *rule.other)} <= {"camid", *protocol.needs}


def test_from_python_by_name() -> None:
    query, gallery = np.eye(1, 3), np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0.5, 0.5, 0]])
    mine, theirs = np.array([5]), np.array([5, 7, 6])
    people: Any = (query, gallery, [1], [1, 2, 1], [0], [1, 1, 1])
    found = resight.evaluate(*people, protocol="clothes_changed", query_outfits=mine, gallery_outfits=theirs)
    assert (found.mAP, found.ranked.tolist()) == (0.5, [2])
    assert resight.evaluate(*people).mAP == pytest.approx((1 + 2 / 3) / 2)
    assert resight.evaluate(*people, scoring=TRAPEZOID).mAP == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    with pytest.raises(UserError, match="no label 'outfit'"):
        resight.evaluate(*people, protocol="clothes_changed")
    with pytest.raises(UserError, match=r"query outfit has shape \(2,\), but there are 1 images"):
        resight.evaluate(*people, protocol="clothes_changed", query_outfits=theirs[:2], gallery_outfits=theirs)
