"""Speed and cost from events: what is there is shown, replays are counted, clocks may disagree."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.trainers.report.frame import hours, money
from resight.trainers.report.speed import Price, attempts_of, speed_of
from tests.trainers.reports import steps


def event(kind: str, time: float, step: int, attempt: int = 1, **facts: Any) -> dict[str, Any]:
    return {"event": kind, "time": time, "step": step, "epoch": 0, "attempt": attempt, "rank": 0, **facts}


def crashed() -> list[dict[str, Any]]:
    """Ten steps, a checkpoint after the sixth, a crash; a minute later on with two workers from there."""
    before = [
        event("start", 100.0, 0, world=4),
        *steps(6),
        event("checkpoint", 106.5, 6),
        *steps(4, first=7, begin=106.5),
    ]
    after = [event("resume", 170.5, 6, 2, world=2), *steps(6, attempt=2, first=7, begin=170.5)]
    return [*before, *after, event("finish", 177.5, 12, 2)]


def test_attempts_say_what_was_lost() -> None:
    first, second = attempts_of(crashed())
    assert (first.workers, first.first, first.last, first.seconds) == (4, 0, 10, 10.5)
    assert (first.again, first.again_s, first.idle_s) == (4, 4.0, 0.0)
    assert (second.number, second.workers, second.first, second.last) == (2, 2, 6, 12)
    assert (second.idle_s, second.again, second.again_s) == (60.0, 0, 0.0)
    assert hours([first, second]) == pytest.approx((4 * 10.5 + 2 * 7.0) / 3600)


def test_a_run_stopped_in_peace_loses_nothing() -> None:
    events = [event("start", 0.0, 0), *steps(3, begin=0.0), event("checkpoint", 3.5, 3), event("resume", 99.0, 3, 2)]
    assert [attempt.again for attempt in attempts_of(events)] == [0, 0]


def test_a_clock_that_runs_behind_gives_no_negative_time() -> None:
    events = [event("start", 500.0, 0), *steps(3, begin=500.0), event("resume", 400.0, 0, 2)]
    found = attempts_of(events)
    assert found[1].idle_s == 0.0
    assert found[0].again == 3


def test_events_without_a_start_or_a_step_are_understood() -> None:
    (only,) = attempts_of([*steps(3, first=5), {"event": "error", "time": 110.0, "attempt": 1}], workers=3)
    assert (only.first, only.last, only.workers, only.seconds) == (4, 7, 3, 9.0)
    assert attempts_of([]) == []


def test_todays_events_split_a_step_in_two() -> None:
    speed = speed_of(steps(9, data_s=0.25, step_s=1.0))
    assert speed.shares == pytest.approx({"waiting for data": 0.25, "network": 0.75})
    assert (speed.images_per_s, speed.step_s, speed.mfu, speed.peak_memory_mib) == (64.0, 1.0, None, None)


def test_all_parts_are_shown_in_the_order_of_a_step() -> None:
    parts: dict[str, Any] = {
        "optimiser_s": 0.1,
        "data_s": 0.1,
        "backward_s": 0.3,
        "communication_s": 0.1,
        "forward_s": 0.2,
    }
    epochs = [event("epoch", 1.0, k, mfu=0.1 * k, peak_memory_mib=100.0 / k) for k in (1, 2)]
    speed = speed_of([*steps(9, step_s=1.0, **parts), *epochs])
    assert list(speed.parts) == ["waiting for data", "forward", "backward", "communication", "optimiser", "rest"]
    assert speed.shares["rest"] == pytest.approx(0.2)
    assert (speed.mfu, speed.peak_memory_mib) == (0.2, 100.0)


def test_events_that_say_nothing_of_time_show_none() -> None:
    speed = speed_of([event("step", 1.0, 1, losses={}, total=1.0, lr=0.1)])
    assert (speed.images_per_s, speed.step_s, speed.parts, speed.shares) == (None, None, {}, {})


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0.01, 5)), min_size=1, max_size=20))
def test_shares_are_shares(times: list[tuple[float, float, float]]) -> None:
    events = [
        {**steps(1, first=k + 1)[0], "data_s": data, "forward_s": forward, "step_s": data + forward + rest}
        for k, (data, forward, rest) in enumerate(times)
    ]
    shares = speed_of(events).shares
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share >= 0 for share in shares.values())


def test_money_is_what_the_user_says() -> None:
    attempts = attempts_of([event("start", 0.0, 0, world=8), event("finish", 5400.0, 9)])
    assert money(attempts, Price(per_worker_hour=100, currency="EUR")) == "1,200.00 EUR"
    assert money(attempts, Price(per_worker_hour=0.5)) == "6.00"
    assert money(attempts, None) == ""


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(price: float) -> None:
    with pytest.raises(UserError, match="not a price"):
        Price(per_worker_hour=price)
