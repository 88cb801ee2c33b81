"""Where a network looks: what is drawn is what the network computes, and it points at what was planted."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resight.cluster.progress import Progress, silent
from resight.datasets.dataset import Dataset
from resight.datasets.decode import decode_plane
from resight.trainers.config import Config, with_overrides
from resight.trainers.embedder import Embedder
from resight.trainers.methods import METHODS, method_of
from resight.trainers.methods.method import DataShape, Views
from resight.trainers.models.attention import Attention
from resight.trainers.models.looking import class_attention, feature_norm, relative
from resight.trainers.models.resnet import ResNet, ResNetConfig
from resight.trainers.models.vit import ViT, VitConfig
from resight.trainers.recipes import recipe
from resight.trainers.report.page import write_report
from resight.trainers.retrieval.judge import judge
from resight.trainers.retrieval.maps import LARGEST, Look, draw_maps
from resight.trainers.retrieval.showcase import Showcase
from resight.trainers.run_folder import RunFolder
from tests.datasets.making import crops, write_dataset
from tests.trainers.reports import Page

SMALL: dict[str, Config] = {
    "strong_baseline": with_overrides(recipe("strong_baseline", "tiny"), {"model.width": 4}),
    "transreid": with_overrides(
        recipe("transreid", "tiny"), {"model.width": 24, "model.depth": 2, "model.heads": 3, "model.stride": 12}
    ),
}
GRIDS = {"strong_baseline": (8, 4), "transreid": (10, 5)}


def embedder(name: str) -> Embedder:
    config = SMALL[name]
    shape = DataShape(num_classes=5, num_cameras=2, height=128, width=64, cameras=("made/0", "made/1"))
    return Embedder(config, method_of(config).build(config, shape), shape, chunk=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    samples = [*crops("query", ids=5, per_id=1), *crops("gallery", ids=5, per_id=3)]
    return write_dataset(samples, tmp_path_factory.mktemp("data"), name="made")


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_shares_are_those_of_the_fused_attention(dtype: torch.dtype, bound: float) -> None:
    """The fused kernel hands out its softmax when the values are the rows of the identity."""
    torch.manual_seed(0)
    attention = Attention(24, 3).to(dtype)
    nn.init.normal_(attention.qkv.weight, std=0.4)
    x = torch.randn(2, 9, 24, dtype=dtype)
    q, k, _ = attention.qkv(x).unflatten(2, (3, 3, 8)).permute(2, 0, 3, 1, 4)
    fused = F.scaled_dot_product_attention(q, k, torch.eye(9, dtype=dtype).expand(2, 3, 9, 9))
    found = attention.first_weights(x)
    assert found.shape == (2, 3, 9)
    torch.testing.assert_close(found, fused[:, :, 0], rtol=0, atol=bound)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(2, 3, dtype=dtype))


def test_shares_make_what_the_class_token_gathers() -> None:
    torch.manual_seed(1)
    attention = Attention(24, 3).double()
    x = torch.randn(2, 9, 24, dtype=torch.float64)
    values = attention.qkv(x)[..., 48:].unflatten(2, (3, 8)).transpose(1, 2)  # (b, heads, n, 8)
    gathered = (attention.first_weights(x)[:, :, None] @ values).flatten(1)
    torch.testing.assert_close(attention.proj(gathered), attention.first(x))


def seeing(cell: tuple[int, int]) -> tuple[ViT, Tensor]:
    """A transformer of one block whose first head asks for bright patches, and an image with one of them."""
    network = ViT(VitConfig(width=8, depth=1, heads=2, patch=4, stride=4), height=20, width=12).double()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    attention = network.blocks[0].get_submodule("attn")
    with torch.no_grad():
        network.patch_embed.proj.weight[0] = 1.0  # channel 0 is brightness
        network.blocks[0].get_submodule("norm1").get_parameter("weight").fill_(1.0)
        attention.get_submodule("qkv").get_parameter("bias")[0] = 2.0  # the first head's query, for every token
        attention.get_submodule("qkv").get_parameter("weight")[8, 0] = 3.0  # its key: brightness
    image = torch.zeros(1, 3, 20, 12, dtype=torch.float64)
    row, column = (4 * place for place in cell)
    image[:, :, row : row + 4, column : column + 4] = 1.0
    return network.eval(), image


@pytest.mark.parametrize("cell", [(0, 0), (4, 0), (1, 2), (3, 1)])
def test_a_transformer_that_asks_for_brightness_looks_at_the_planted_patch(cell: tuple[int, int]) -> None:
    network, image = seeing(cell)
    (found,) = class_attention(network, image)
    assert found.shape == (5, 3)
    key = 3.0 * 7 / np.sqrt(7)  # brightness after the norm: one of eight channels, the others equal
    bright = np.exp(2.0 * key / 2.0)  # query times key over the square root of 4 channels a head
    head = torch.full((5, 3), 1 / (15 + bright))
    head[cell] = bright / (15 + bright)
    torch.testing.assert_close(found, ((head + 1 / 16) / 2).double(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (96, 32), (32, 16)])
def test_a_residual_network_looks_at_the_planted_texture(row: int, column: int) -> None:
    """Without biases an empty image gives an empty map, whatever the weights are."""
    torch.manual_seed(0)
    network = ResNet(ResNetConfig(depth=10, width=8)).eval()
    image = torch.zeros(1, 3, 128, 64)
    assert feature_norm(network(image)).abs().max() == 0
    image[:, :, row : row + 32, column : column + 32] = torch.randn(3, 32, 32)
    found = relative(feature_norm(network(image)))[0]
    inside = found[row // 16 : row // 16 + 2, column // 16 : column // 16 + 2]
    assert inside.max() == 1
    far = found[[place for place in range(8) if not row // 16 - 2 <= place < row // 16 + 4]]
    assert inside.mean() > 4 * far.mean()


def test_a_map_is_a_share_of_its_largest() -> None:
    maps = torch.tensor([[[0.0, 2.0], [4.0, 1.0]], [[3.0, 3.0], [3.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    wanted = torch.tensor([[[0.0, 0.5], [1.0, 0.25]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert torch.equal(relative(maps), wanted)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_rows_come_back_in_the_order_asked_for(name: str, dataset: Dataset) -> None:
    network, rows = embedder(name), np.array([7, 0, 12, 3, 19, 5])
    found = network.look(dataset, rows)
    assert found.shape == (6, *GRIDS[name])
    assert found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_array_equal(found.max(axis=(1, 2)), 1)
    for place, row in enumerate(rows):
        np.testing.assert_allclose(network.look(dataset, np.array([row]))[0], found[place], rtol=1e-4, atol=1e-5)


def test_a_camera_changes_where_transreid_looks() -> None:
    network = embedder("transreid")
    nn.init.normal_(network.models["cameras"].get_parameter("table"))
    images, attend = torch.randn(2, 3, 128, 64), METHODS["transreid"].attend
    assert attend is not None
    network.models.eval()
    first, second = (
        attend.maps(network.models, Views(images=images, camids=torch.tensor(camids)), network.config)
        for camids in ([0, 0], [0, 1])
    )
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


def test_a_large_map_is_stored_small(dataset: Dataset) -> None:
    def ramps(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        ramp = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
        return np.broadcast_to(ramp, (len(rows), 200, 30)).copy()

    key = str(dataset.index.key[3])
    show = Showcase(rankings=[{"query": {"key": key, "crop": "crops/x"}, "results": []}], crops={"crops/x": 3})
    maps = draw_maps(Look(legend="ramps", maps=ramps), dataset, show)
    assert maps.index == {"legend": "ramps", "maps": {key: f"maps/{key}.png"}}
    plane = decode_plane(maps.files[f"maps/{key}.png"])
    assert plane.shape == (LARGEST, 30)
    assert np.all(np.diff(plane[:, 0].astype(int)) > 0)


def test_judging_keeps_maps_of_what_is_shown_and_the_page_shows_them(dataset: Dataset, tmp_path: Path) -> None:
    network = embedder("strong_baseline")
    attend = method_of(network.config).attend
    assert attend is not None
    stale = tmp_path / "evaluations/made/maps/gone.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    judge(network, dataset, out=tmp_path, baselines=False, look=Look(legend=attend.legend, maps=network.look))
    folder = tmp_path / "evaluations/made"
    told = json.loads((folder / "maps.json").read_text())
    rankings = json.loads((folder / "rankings.json").read_text())
    wanted = {image["key"] for entry in rankings for image in (entry["query"], entry["results"][0])}
    assert set(told["maps"]) == wanted
    assert {f"maps/{path.name}" for path in (folder / "maps").iterdir()} == set(told["maps"].values())
    key = rankings[0]["query"]["key"]
    row = int(np.flatnonzero(dataset.index.key == key)[0])
    plane = cv2.imread(str(folder / told["maps"][key]), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(plane, np.round(255 * network.look(dataset, np.array([row]))[0]))
    RunFolder(tmp_path).write_config(network.config)
    page = Page(write_report(tmp_path).read_text())
    assert sum(text.startswith("map of") for _, text, _ in page.pictures) == 2 * len(rankings)


class Blind:
    """Features without networks."""

    def embed_dataset(self, dataset: Dataset, rows: Any, progress: Progress = silent) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((len(rows), 8)).astype(np.float32)


def test_judging_without_a_look_leaves_no_maps(dataset: Dataset, tmp_path: Path) -> None:
    judge(Blind(), dataset, out=tmp_path, baselines=False)
    folder = tmp_path / "evaluations/made"
    assert json.loads((folder / "maps.json").read_text()) == {"legend": None, "maps": {}}
    assert not list(folder.glob("maps/*"))
