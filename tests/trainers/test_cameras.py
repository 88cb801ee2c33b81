"""Cameras: who was seen in training, and what is added for those who were not."""

import numpy as np
import torch

from resight.trainers.cameras import camera_numbers
from resight.trainers.models.camera_shift import CameraShift

NAMES = ("market/1", "market/2", "market/6", "duke/1")


def test_a_camera_is_known_by_data_set_and_number() -> None:
    found = camera_numbers(NAMES, "market", np.array([6, 1, 1, 2, 3, -1, 10]))
    assert found.dtype == np.int64
    assert found.tolist() == [2, 0, 0, 1, -1, -1, -1]
    assert camera_numbers(NAMES, "duke", np.array([1, 2])).tolist() == [3, -1]
    assert camera_numbers(NAMES, "msmt17", np.array([1, 2])).tolist() == [-1, -1]
    assert camera_numbers((), "market", np.array([1])).tolist() == [-1]
    assert camera_numbers(NAMES, "market", np.array([], np.int64)).tolist() == []


def test_a_name_that_two_sources_share_tells_nothing() -> None:
    assert camera_numbers(("a/1", "a/2", "a/1"), "a", np.array([1, 2])).tolist() == [-1, 1]


def _shift(cameras: int) -> CameraShift:
    torch.manual_seed(0)
    return CameraShift(cameras, 5, factor=3.0).double()


def test_each_camera_adds_three_times_its_vector_and_a_stranger_the_mean() -> None:
    shift = _shift(4)
    assert shift.table.shape == (4, 1, 5)
    found = shift(torch.tensor([2, 0, -1, 4, 99]))
    assert found.shape == (5, 1, 5)
    torch.testing.assert_close(found[:2], 3 * shift.table[[2, 0]])
    for stranger in found[2:]:
        torch.testing.assert_close(stranger, 3 * shift.table.mean(0))


def test_one_camera_and_none_serve_everybody() -> None:
    for cameras in (0, 1):
        shift = _shift(cameras)
        assert len(shift.table) == 1
        found = shift(torch.tensor([0, -1, 7]))
        torch.testing.assert_close(found, (3 * shift.table).expand(3, 1, 5))


def test_vectors_begin_small_and_learn_from_strangers_too() -> None:
    torch.manual_seed(0)
    shift = CameraShift(50, 400, factor=3.0)
    assert abs(shift.table.std().item() - 0.02) < 5e-4
    shift(torch.tensor([3, -1])).sum().backward()
    assert shift.table.grad is not None
    torch.testing.assert_close(shift.table.grad[3], torch.full((1, 400), 3 + 3 / 50))
    torch.testing.assert_close(shift.table.grad[4], torch.full((1, 400), 3 / 50))
