"""Published transformers' names and shapes against ours; what does not fit is told with the list."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from resight.cluster.errors import UserError
from resight.trainers.models.position import resize_positions
from resight.trainers.models.vit import ViT, VitConfig
from resight.trainers.models.vit_weights import load_vit, vit_names
from resight.trainers.models.weights import read_weights
from resight.trainers.recipes import recipe

NARROW = VitConfig(width=24, depth=2, heads=3, patch=8, stride=8)


def _ours(height: int = 32, width: int = 16, config: VitConfig = NARROW) -> ViT:
    torch.manual_seed(1)
    return ViT(config, height=height, width=width)


def _published(form: str) -> dict[str, Tensor]:
    """Return a narrow network for 32x32 images as the named code base stores it."""
    own = ViT(NARROW, height=32, width=32).state_dict()
    torch.manual_seed(0)
    own = {name: torch.randn_like(value) for name, value in own.items()}
    head = {"head.weight": torch.zeros(5, 24), "head.bias": torch.zeros(5)}
    table = own["pos_embed"]
    distilled = {
        "pos_embed": torch.cat([table[:, :1], torch.full((1, 1, 24), 9.0), table[:, 1:]], dim=1),
        "dist_token": torch.zeros(1, 1, 24),
        "head_dist.weight": torch.zeros(5, 24),
        "head_dist.bias": torch.zeros(5),
    }
    forms = {
        "timm": own | head,
        "bare": own,
        "deit distilled": own | head | distilled,
        "data parallel": {f"module.{name}": value for name, value in (own | head).items()},
        "transreid's backbone": {
            **{f"base.{name}": value for name, value in own.items()},
            "base.fc.weight": torch.zeros(5, 24),
            "base.fc.bias": torch.zeros(5),
        },
        "torchvision": _torchvision(own, "mlp.0.", "mlp.3."),
        "torchvision before 0.12": _torchvision(own, "mlp.linear_1.", "mlp.linear_2."),
    }
    return forms[form]


def _torchvision(own: dict[str, Tensor], fc1: str, fc2: str) -> dict[str, Tensor]:
    names = {
        "cls_token": "class_token", "patch_embed.proj.": "conv_proj.", "pos_embed": "encoder.pos_embedding",
        "blocks.": "encoder.layers.encoder_layer_", ".norm1.": ".ln_1.", ".norm2.": ".ln_2.",
        "attn.qkv.": "self_attention.in_proj_", "attn.proj.": "self_attention.out_proj.",
        "mlp.fc1.": fc1, "mlp.fc2.": fc2,
    }  # fmt: skip
    found: dict[str, Tensor] = {}
    for name, value in own.items():
        theirs = name.replace("norm.", "encoder.ln.") if name.startswith("norm.") else name
        for ours, other in names.items():
            theirs = theirs.replace(ours, other)
        found[theirs] = value
    return found | {"heads.head.weight": torch.zeros(5, 24), "heads.head.bias": torch.zeros(5)}


@pytest.mark.parametrize(
    "form",
    [
        "timm", "bare", "deit distilled", "data parallel", "transreid's backbone", "torchvision",
        "torchvision before 0.12",
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_published_weights_load_from_files(form: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    tensors = _published(form)
    if suffix == "safetensors":
        save_file({name: value.clone() for name, value in tensors.items()}, path)
    else:
        torch.save({"model": tensors}, path)
    backbone, wanted = _ours(), _published("bare")
    load_vit(backbone, read_weights(str(path), allow_download=False), str(path), ratio=1)
    for name, value in backbone.state_dict().items():
        expected = resize_positions(wanted[name], (4, 2)) if name == "pos_embed" else wanted[name]
        assert torch.equal(value, expected), name


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("vit_base_patch16_224", VitConfig()),
        ("vit_small_patch16_224", VitConfig(width=384, heads=6)),
        ("deit_base_distilled_patch16_224", VitConfig()),
    ],
)
@pytest.mark.parametrize("stride", [16, 12])
def test_every_name_and_shape_of_timm_is_ours(name: str, config: VitConfig, stride: int) -> None:
    with torch.device("meta"):
        theirs = vit_names(timm.create_model(name).state_dict())
        ours = ViT(VitConfig(width=config.width, heads=config.heads, stride=stride), height=256, width=128).state_dict()
        theirs["pos_embed"] = resize_positions(theirs["pos_embed"], {16: (16, 8), 12: (21, 10)}[stride])
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}


def test_every_name_and_shape_of_torchvision_is_ours() -> None:
    with torch.device("meta"):
        theirs = vit_names(torchvision.models.get_model("vit_b_16").state_dict())
        ours = ViT(VitConfig(), height=224, width=224).state_dict()
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}


def test_it_is_torchvisions_with_its_weights() -> None:
    theirs = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96, num_classes=24
    )
    theirs.heads = torch.nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    backbone = _ours(32, 32)
    load_vit(backbone, theirs.state_dict(), "torchvision", ratio=1)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(backbone(images)[0], theirs.eval()(images), rtol=1e-4, atol=1e-5)


def _refused(tensors: dict[str, Tensor], **options: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        load_vit(_ours(**options), tensors, "somewhere", ratio=1)
    return caught.value


def test_weights_that_do_not_fit_are_listed() -> None:
    tensors = _published("timm")
    del tensors["blocks.1.mlp.fc2.bias"]
    tensors["blocks.2.norm1.weight"] = torch.zeros(24)
    tensors["norm.weight"] = torch.zeros(25)
    error = _refused(tensors)
    text = str(error)
    assert "1 missing: blocks.1.mlp.fc2.bias" in text
    assert "1 not known: blocks.2.norm1.weight" in text
    assert "norm.weight is (25,), not (24,)" in text
    assert "model.depth" in text
    assert error.where == "somewhere"


def test_two_networks_in_one_file_are_refused() -> None:
    assert "two weights are named 'norm.bias'" in str(
        _refused({"base.norm.bias": torch.zeros(1), "norm.bias": torch.zeros(1)})
    )


def test_a_table_without_a_grid_is_refused() -> None:
    tensors = _published("bare")
    tensors["pos_embed"] = torch.zeros(1, 1 + 18, 24)
    assert _refused(tensors).where == "model.grid_ratio"


def test_the_named_download_exists() -> None:
    weights = recipe("transreid", "paper").model.weights
    assert weights is not None
    name, _, tag = weights.removeprefix("timm:").partition(".")
    assert tag in [pretrained.partition(".")[2] for pretrained in timm.list_pretrained(f"{name}.*")]
