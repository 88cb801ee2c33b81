"""Vision transformers: grids of tokens, a block against numpy, and that asking for less changes nothing."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from resight.cluster.errors import UserError
from resight.trainers.models.attention import Attention
from resight.trainers.models.patch_embed import PatchEmbed, grid_of
from resight.trainers.models.position import resize_positions
from resight.trainers.models.vit import Block, ViT, VitConfig
from tests.reference import transformer as reference

NARROW = VitConfig(width=12, depth=3, heads=3, patch=4, stride=3)


def _filled(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double()


def _numpy(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("height", "width", "stride", "grid"),
    [
        (256, 128, 16, (16, 8)), (256, 128, 12, (21, 10)), (256, 128, 11, (22, 11)), (384, 128, 16, (24, 8)),
        (384, 128, 12, (31, 10)), (128, 64, 16, (8, 4)),
    ],
)  # fmt: skip
def test_grids_of_tokens(height: int, width: int, stride: int, grid: tuple[int, int]) -> None:
    assert grid_of(height, width, patch=16, stride=stride) == grid
    with torch.device("meta"):
        network = ViT(VitConfig(width=48, depth=1, heads=3, stride=stride), height=height, width=width)
        tokens = network.tokens(torch.empty(2, 3, height, width))
    assert network.grid == grid
    assert tokens.shape == (2, 1 + grid[0] * grid[1], 48)


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(UserError, match="holds no patch"):
        ViT(NARROW, height=32, width=3)


def test_patches_equal_the_reference() -> None:
    embed = _filled(PatchEmbed(5, patch=4, stride=3))
    images = torch.randn(2, 3, 12, 9, dtype=torch.float64)
    weights = _numpy(embed)
    wanted = [reference.patches(image, weights["proj.weight"], weights["proj.bias"], 3) for image in images.numpy()]
    np.testing.assert_allclose(embed(images).detach().numpy(), np.stack(wanted), rtol=1e-10, atol=1e-12)


def test_attention_equals_the_reference() -> None:
    attention = _filled(Attention(12, 3))
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    wanted = np.stack([reference.attention(tokens, _numpy(attention), 3) for tokens in x.numpy()])
    np.testing.assert_allclose(attention(x).detach().numpy(), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("keep", [None, [[0.0, 1.25], [1.25, 0.0]]])
def test_a_block_equals_the_reference(keep: Any) -> None:
    block = _filled(Block(12, 3, 48))
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    scale = None if keep is None else torch.tensor(keep, dtype=torch.float64)
    found = block(x, scale).detach().numpy()
    for image in range(2):
        kept = (1.0, 1.0) if keep is None else (keep[0][image], keep[1][image])
        wanted = reference.block(x[image].numpy(), _numpy(block), 3, kept)
        np.testing.assert_allclose(found[image], wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("keep", [None, [[0.0, 1.25], [1.25, 0.0]]])
def test_the_first_token_alone_is_that_of_all(keep: Any) -> None:
    """Value and every gradient."""
    block = _filled(Block(12, 3, 48))
    assert isinstance(block, Block)
    x = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=True)
    scale = None if keep is None else torch.tensor(keep, dtype=torch.float64)
    found: list[list[torch.Tensor]] = []
    for first in (block(x, scale)[:, 0], block.first(x, scale)):
        gradients = torch.autograd.grad(first.square().sum(), [x, *block.parameters()])
        found.append([first, *gradients])
    for whole, alone in zip(*found, strict=True):
        torch.testing.assert_close(alone, whole, rtol=1e-11, atol=1e-13)


def test_it_is_timms_with_its_weights() -> None:
    theirs = timm.create_model(
        "vit_base_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=0
    )
    assert isinstance(theirs, timm.models.VisionTransformer)
    ours = ViT(VitConfig(width=24, depth=3, heads=3, patch=8, stride=8), height=32, width=32)
    ours.load_state_dict({name: nn.init.normal_(value, std=0.3) for name, value in theirs.state_dict().items()})
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 32, 32)
    first, _ = ours.eval()(images)
    torch.testing.assert_close(first, theirs.eval().forward_features(images)[:, 0], rtol=1e-4, atol=1e-4)


def test_tokens_before_the_last_block_and_a_shift_of_all() -> None:
    network = _filled(ViT(NARROW, height=13, width=10))
    assert isinstance(network, ViT)
    images = torch.randn(2, 3, 13, 10, dtype=torch.float64)
    shift = torch.randn(2, 1, 12, dtype=torch.float64)
    x = network.tokens(images) + shift
    for block in network.blocks[:-1]:
        x = block(x)
    first, before = network(images, shift=shift)
    torch.testing.assert_close(before, x)
    torch.testing.assert_close(first, network.norm(network.blocks[-1](x)[:, 0]))
    assert before.shape == (2, 1 + 4 * 3, 12)


def test_drop_path_rises_from_nothing() -> None:
    assert VitConfig(depth=12).drop_rates == pytest.approx([0.1 * layer / 11 for layer in range(12)])
    assert VitConfig(depth=1, drop_path=0.3).drop_rates == (0.0,)


@pytest.mark.parametrize(
    ("change", "where"), [({"heads": 5}, "heads"), ({"stride": 0}, "stride"), ({"drop_path": 1}, "drop_path")]
)
def test_impossible_settings_are_refused_by_name(change: dict[str, Any], where: str) -> None:
    with pytest.raises(UserError) as caught:
        VitConfig(**change)
    assert caught.value.where == f"model.{where}"


@pytest.mark.parametrize("extra", [1, 2])
@pytest.mark.parametrize("grid", [(5, 3), (4, 4), (9, 2)])
def test_positions_are_resized_as_an_image(extra: int, grid: tuple[int, int]) -> None:
    table = np.random.default_rng(0).normal(size=(1, extra + 16, 6))
    found = resize_positions(torch.from_numpy(table), grid).numpy()
    wanted = reference.bilinear(table[0, extra:].reshape(4, 4, 6), *grid).reshape(-1, 6)
    np.testing.assert_allclose(found[0, 0], table[0, 0])
    np.testing.assert_allclose(found[0, 1:], wanted, rtol=1e-12, atol=1e-12)


def test_positions_of_upright_images() -> None:
    table = torch.randn(1, 1 + 18, 4)
    assert resize_positions(table, (4, 2), ratio=2).shape == (1, 9, 4)
    assert torch.equal(resize_positions(table, (6, 3), ratio=2), table)
    assert torch.equal(resize_positions(table, (6, 3)), table)  # as many patches as are wanted, and no square
    assert torch.equal(resize_positions(torch.cat([table[:, :1], table], 1), (6, 3)), table)
    square = torch.randn(1, 1 + 16, 4)
    assert not torch.equal(resize_positions(square, (8, 2)), square)
    with pytest.raises(UserError, match="no grid") as caught:
        resize_positions(table, (5, 3))
    assert caught.value.where == "model.grid_ratio"
