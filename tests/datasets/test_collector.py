"""The collector is held for as long as it was asked for, and no longer."""

import gc
import threading

import pytest

from resight.datasets.collector import uncollected


@uncollected()
def fail():
    assert not gc.isenabled()
    raise ValueError("x")


def test_it_is_on_again_after_an_error():
    with pytest.raises(ValueError, match="x"):
        fail()
    assert gc.isenabled()


def test_inside_another_it_stays_off():
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("first_out", ["outer", "inner"])
def test_threads_that_overlap_leave_it_on(first_out: str):
    held, leave = threading.Event(), threading.Event()

    def hold():
        with uncollected():
            held.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    with uncollected():
        thread.start()
        assert held.wait(10)
        if first_out == "inner":
            leave.set()
            thread.join()
    leave.set()
    thread.join()
    assert gc.isenabled()
