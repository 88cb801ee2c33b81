"""Backbones against torchvision's, weight for weight, and the published names against ours."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from resight.cluster.errors import UserError
from resight.trainers.models.build import build_backbone
from resight.trainers.models.ibn import InstanceBatchNorm
from resight.trainers.models.resnet import STAGES, ResNet, ResNetConfig
from resight.trainers.models.weights import load_weights, published_names
from resight.trainers.norm import GlobalBatchNorm
from resight.trainers.recipes import recipe

NARROW = ResNetConfig(depth=10, width=4)


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("training", [True, False])
def test_resnet_is_torchvisions_with_its_weights(depth: Any, training: bool) -> None:
    theirs = torchvision.models.get_model(f"resnet{depth}", num_classes=3)
    ours = ResNet(ResNetConfig(depth=depth, last_stride=2))
    ours.load_state_dict(published_names(theirs.state_dict()))
    inner = nn.Sequential(*list(theirs.children())[:-2])
    images = torch.randn(2, 3, 64, 32)
    ours.train(training)
    inner.train(training)
    torch.testing.assert_close(ours(images), inner(images), rtol=1e-4, atol=1e-5)
    for name, value in published_names(theirs.state_dict()).items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_every_published_name_and_shape_is_ours(depth: Any) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}").state_dict()
        ours = ResNet(ResNetConfig(depth=depth)).state_dict()
    assert {k: v.shape for k, v in published_names(theirs).items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.parametrize(
    ("config", "image", "wanted"),
    [
        (ResNetConfig(), (256, 128), (2048, 16, 8)),
        (ResNetConfig(last_stride=2), (256, 128), (2048, 8, 4)),
        (ResNetConfig(ibn="a"), (384, 128), (2048, 24, 8)),
        (ResNetConfig(depth=18), (128, 64), (512, 8, 4)),
        (ResNetConfig(depth=10, width=16), (128, 64), (128, 8, 4)),
    ],
)
def test_last_map(config: ResNetConfig, image: tuple[int, int], wanted: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        network = ResNet(config)
        assert network(torch.empty(2, 3, *image)).shape == (2, *wanted)
    assert network.dim == wanted[0]


def test_all_maps_have_the_channels_and_strides_that_they_say() -> None:
    network = ResNet(NARROW)
    maps = network.maps(torch.randn(2, 3, 64, 32))
    assert tuple(maps) == STAGES
    sizes = [(32, 16), (16, 8), (8, 4), (4, 2), (4, 2)]
    for (name, value), channels, size in zip(maps.items(), network.channels, sizes, strict=True):
        assert value.shape == (2, channels, *size), name


def test_a_linear_stem_keeps_negative_values() -> None:
    images = torch.randn(2, 3, 64, 32)
    stems = {stem: ResNet(ResNetConfig(depth=10, width=4, stem=stem)) for stem in ("relu", "linear")}
    stems["linear"].load_state_dict(stems["relu"].state_dict())
    linear, relu = (stems[stem].maps(images)["conv1"] for stem in ("linear", "relu"))
    assert (linear < 0).any()
    torch.testing.assert_close(linear.relu(), relu)


def test_ibn_normalises_one_half_per_image_and_the_other_over_the_batch() -> None:
    torch.manual_seed(0)
    layer = InstanceBatchNorm(7, GlobalBatchNorm)
    x = torch.randn(4, 7, 6, 5) * 3 + 1
    out = layer(x)
    torch.testing.assert_close(out[:, :3], nn.InstanceNorm2d(3)(x[:, :3]))
    torch.testing.assert_close(out[:, 3:], nn.BatchNorm2d(4)(x[:, 3:]))


@pytest.mark.parametrize("depth", [18, 50])
def test_ibn_stands_first_in_each_block_of_the_first_three_stages(depth: Any) -> None:
    network = ResNet(ResNetConfig(depth=depth, width=4, ibn="a"))
    found = {name for name, module in network.named_modules() if isinstance(module, InstanceBatchNorm)}
    blocks = {name for name, _ in network.named_modules() if name.count(".") == 1 and name.startswith("layer")}
    assert found == {f"{name}.bn1" for name in blocks if not name.startswith("layer4")}
    names = network.state_dict()
    assert "layer1.0.bn1.IN.weight" in names
    assert "layer3.0.bn1.BN.running_mean" in names
    assert "layer1.0.bn1.IN.running_mean" not in names


def test_every_batch_norm_can_be_global() -> None:
    network = ResNet(ResNetConfig(depth=50, width=4, ibn="a"))
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # pyright: ignore[reportPrivateUsage]


def _published(network: ResNet, form: str) -> dict[str, Tensor]:
    """Return the network's weights as the named code base stores them."""
    own = network.state_dict()
    vector, matrix = torch.zeros(network.dim), torch.zeros(5, network.dim)
    numbered = {"conv1": "0", "bn1": "1", "layer1": "3", "layer2": "4", "layer3": "5", "layer4": "6"}

    def sequence(name: str) -> str:
        first, _, rest = name.partition(".")
        return f"module.base.{numbered[first]}.{rest}"

    forms: dict[str, dict[str, Tensor]] = {
        "torchvision": {**own, "fc.weight": matrix, "fc.bias": torch.zeros(5)},
        "reid-strong-baseline": {
            **{f"base.{name}": value for name, value in own.items()},
            "bottleneck.weight": vector,
            "bottleneck.bias": vector,
            "bottleneck.running_mean": vector,
            "classifier.weight": matrix,
        },
        "fast-reid": {
            **{f"backbone.{name}": value for name, value in own.items()},
            "heads.weight": matrix,
            "heads.bottleneck.0.weight": vector,
            "pixel_mean": torch.zeros(1, 3, 1, 1),
            "pixel_std": torch.zeros(1, 3, 1, 1),
        },
        "MMT": {
            **{sequence(name): value for name, value in own.items()},
            "module.feat_bn.weight": vector,
            "module.classifier.weight": matrix,
        },
        "counters left out": {name: value for name, value in own.items() if "num_batches" not in name},
    }
    return forms[form]


@pytest.mark.parametrize("ibn", ["none", "a"])
@pytest.mark.parametrize("form", ["torchvision", "reid-strong-baseline", "fast-reid", "MMT", "counters left out"])
def test_published_weights_load_from_files(form: str, ibn: Any, tmp_path: Path) -> None:
    config = ResNetConfig(depth=10, width=4, ibn=ibn)
    source = ResNet(config)
    tensors = {name: value.clone() for name, value in _published(source, form).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        loaded = build_backbone(ResNetConfig(depth=10, width=4, ibn=ibn, weights=str(tmp_path / name)))
        for key, value in source.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key


def _refused(path: Path | str, config: ResNetConfig = NARROW) -> str:
    with pytest.raises(UserError) as caught:
        load_weights(ResNet(config), str(path), allow_download=False)
    return str(caught.value)


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    tensors = ResNet(NARROW).state_dict()
    del tensors["layer2.0.conv1.weight"]
    tensors["layer9.0.conv1.weight"] = torch.zeros(1)
    tensors["conv1.weight"] = torch.zeros(8, 3, 7, 7)
    save_file(tensors, tmp_path / "a.safetensors")
    text = _refused(tmp_path / "a.safetensors")
    assert "1 missing: layer2.0.conv1.weight" in text
    assert "1 not known: layer9.0.conv1.weight" in text
    assert "conv1.weight is (8, 3, 7, 7), not (4, 3, 7, 7)" in text
    assert "model.depth" in text


def test_long_lists_are_cut(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert "more" in _refused(tmp_path / "a.safetensors")


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    save_file({"base.conv1.weight": torch.zeros(1), "conv1.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert "two weights are named 'conv1.weight'" in _refused(tmp_path / "a.safetensors")


class _Harmful:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm"),))


def test_files_that_are_not_plain_tensors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Harmful()}, "harm.pth")
    torch.save([1, 2], "list.pth")
    Path("text.safetensors").write_text("no")
    assert "plain tensors" in _refused("harm.pth")
    assert not Path("harm").exists()
    assert "not a state dict" in _refused("list.pth")
    assert "safetensors" in _refused("text.safetensors")
    assert "no weights at" in _refused("none.pth")


def test_nothing_is_downloaded_unless_it_is_allowed() -> None:
    paper = recipe("strong_baseline", "paper").model
    assert isinstance(paper, ResNetConfig)
    with pytest.raises(UserError, match=r"model\.download is 'never'") as caught:
        build_backbone(paper)
    assert caught.value.where == "model.weights"
    allowed = dataclasses.replace(paper, weights="timm:resnet50x", download="allow")
    with pytest.raises(UserError, match="timm has no model"):
        build_backbone(allowed)


def test_a_named_download_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The download itself replaced: random weights under timm's own names."""
    import timm

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: original(name, pretrained=False))
    network = build_backbone(ResNetConfig(depth=18, weights="timm:resnet18", download="allow"))
    assert network.dim == 512


def test_a_named_download_exists() -> None:
    import timm

    weights = recipe("strong_baseline", "paper").model.weights
    assert weights is not None
    name, _, tag = weights.removeprefix("timm:").partition(".")
    assert tag in [pretrained.partition(".")[2] for pretrained in timm.list_pretrained(f"{name}.*")]
