"""The embedder: what callers may hand in, what they get, and that it is the same however they ask."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from resight.cluster.errors import UserError
from resight.cluster.progress import Step
from resight.datasets.dataset import Dataset
from resight.trainers.config import with_overrides
from resight.trainers.embedder import Embedder
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape
from resight.trainers.recipes import recipe

CONFIG = with_overrides(recipe("strong_baseline", "tiny"), {"model.width": 4})
SHAPE = DataShape(num_classes=5, num_cameras=3, height=128, width=64)


def _embedder(chunk: int = 4) -> Embedder:
    return Embedder(CONFIG, method_of(CONFIG).build(CONFIG, SHAPE), SHAPE, chunk=chunk)


def _images(count: int, height: int = 80, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class _Pictures:
    """Stands in for a data set: images by row, keys falling as rows rise."""

    name = "pictures"

    def __init__(self, images: np.ndarray) -> None:
        self.stored = images
        keys = np.array([f"{len(images) - row:04d}" for row in range(len(images))])
        self.index = SimpleNamespace(key=keys, camid=np.arange(len(images)) % 5)

    def images(self, rows: Any) -> list[np.ndarray]:
        return [self.stored[row] for row in rows]


def test_it_gives_normalised_float32_rows() -> None:
    embedder = _embedder()
    features = embedder.embed(_images(10))
    assert features.shape == (10, embedder.dim) == (10, 32)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)


def test_an_image_embeds_the_same_in_any_company() -> None:
    images = _images(9)
    one_by_one = np.concatenate([_embedder().embed([image]) for image in images])
    np.testing.assert_allclose(_embedder(chunk=4).embed(images), one_by_one, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(_embedder(chunk=64).embed(list(images)), one_by_one, rtol=1e-4, atol=1e-6)


def test_with_flip_a_feature_is_the_mean_of_both_mirror_images() -> None:
    images = _images(5, height=128, width=64)
    plain = _embedder()
    both = plain.embed(images) + plain.embed(images[:, :, ::-1])
    flipped = Embedder(CONFIG, plain.models, SHAPE, flip=True)
    wanted = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(flipped.embed(images), wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(flipped.embed(images[:, :, ::-1]), wanted, rtol=0, atol=1e-5)
    assert not np.allclose(plain.embed(images), wanted, rtol=0, atol=1e-3)


def test_sizes_may_differ_and_views_may_be_strided() -> None:
    images = [*_images(2, 200, 100), *_images(1, 33, 17), _images(1)[0][:, ::-1]]
    assert _embedder().embed(images).shape == (4, 32)


def test_networks_keep_the_mode_and_statistics_they_were_in() -> None:
    embedder = _embedder()
    embedder.models.train()
    embedder.models["neck"].eval()
    before = {name: value.clone() for name, value in embedder.models.state_dict().items()}
    embedder.embed(_images(3))
    assert embedder.models["backbone"].training
    assert not embedder.models["neck"].training
    assert all(torch.equal(value, before[name]) for name, value in embedder.models.state_dict().items())


def test_a_data_set_is_embedded_in_the_order_asked_for() -> None:
    images = _images(11)
    dataset = cast(Dataset, _Pictures(images))
    embedder, steps = _embedder(), list[Step]()

    def note(step: Step) -> None:
        steps.append(step)

    rows = np.array([7, 0, 10, 3, 3, 1])
    features = embedder.embed_dataset(dataset, rows, note)
    np.testing.assert_allclose(features, embedder.embed(images[rows]), rtol=1e-4, atol=1e-6)
    assert [(step.done, step.total, step.unit) for step in steps] == [(4, 5, "images"), (5, 5, "images")]
    ascending = embedder.embed_dataset(dataset, np.sort(rows))
    np.testing.assert_array_equal(ascending, features[np.argsort(rows, kind="stable")])
    assert np.isclose(features[3], features[4]).all()


def test_cameras_reach_the_method_under_their_numbers_in_training() -> None:
    """TransReID adds a vector for each; those of another data set, and one that training has not seen, get the mean."""
    config = with_overrides(
        recipe("transreid", "tiny"), {"model.width": 12, "model.depth": 2, "augment.interpolation": "linear"}
    )
    cameras = ("elsewhere/2", "pictures/3", "pictures/1")
    shape = DataShape(num_classes=5, num_cameras=3, height=128, width=64, cameras=cameras)
    embedder = Embedder(config, method_of(config).build(config, shape), shape, chunk=4)
    images = _images(10)
    features = embedder.embed_dataset(cast(Dataset, _Pictures(images)), np.arange(10))
    known = [{1: 2, 3: 1}.get(row % 5, -1) for row in range(10)]
    np.testing.assert_allclose(features, embedder.embed(images, known), rtol=1e-4, atol=1e-6)
    unknown = embedder.embed(images)
    alike = np.isclose(features, unknown, rtol=1e-4, atol=1e-6).all(axis=1)
    assert alike.tolist() == [number < 0 for number in known]


def test_one_camera_for_each_image_or_none() -> None:
    with pytest.raises(UserError, match=r"3 images, and camids has the shape \(2,\)") as caught:
        _embedder().embed(_images(3), [0, 1])
    assert caught.value.where == "camids"


def test_float64_networks_embed_too() -> None:
    models = method_of(CONFIG).build(CONFIG, SHAPE)
    exact = Embedder(CONFIG, models.double(), SHAPE).embed(_images(3))
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, _embedder().embed(_images(3)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "no images"),
        (_images(3)[:0], "no images"),
        (_images(1)[0], "image 0 is uint8 (40, 3)"),
        ([_images(1)[0], _images(1)[0].astype(np.float32)], "image 1 is float32"),
        ([np.zeros((0, 4, 3), np.uint8)], "image 0"),
        ([np.zeros((8, 4, 4), np.uint8)], "image 0 is uint8 (8, 4, 4)"),
    ],
)
def test_what_is_no_image_is_refused(images: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        _embedder().embed(images)
    assert words in str(caught.value)


def test_no_rows_are_refused() -> None:
    with pytest.raises(UserError, match="no rows"):
        _embedder().embed_dataset(cast(Dataset, _Pictures(_images(1))), np.empty(0, np.int64))


def test_a_diverged_network_says_so() -> None:
    models = method_of(CONFIG).build(CONFIG, SHAPE)
    models.get_parameter("neck.weight").data.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        Embedder(CONFIG, models, SHAPE)


def test_it_says_what_it_is() -> None:
    assert repr(_embedder()) == "Embedder('strong_baseline', size='tiny', dim=32, device=cpu)"
