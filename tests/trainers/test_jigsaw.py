"""The shuffle against the published code's lists and the slides' drawing; the pieces' features against numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from resight.cluster.errors import UserError
from resight.trainers.models.jigsaw import Jigsaw, pieces, shuffled
from resight.trainers.models.vit import ViT, VitConfig
from tests.reference import transformer as reference

CODE: dict[int, list[int]] = {
    9: [5, 1, 6, 2, 7, 3, 8, 4, 9, 3],
    128: [5, 69, 6, 70, 7, 71, 66, 2, 67, 3, 68, 4],
    210: [5, 110, 6, 111, 7, 112, 107, 2, 108, 3, 109, 4],
}
"""What the published shuffle_unit returned when it ran: whole, or the first and last six."""


@pytest.mark.parametrize("patches", CODE)
def test_the_published_order(patches: int) -> None:
    order = shuffled(patches, shift=5, groups=2, variant="code")
    ends = order if patches == 9 else order[:6] + order[-6:]
    assert ends == CODE[patches]
    assert sorted(set(order)) == list(range(1, patches + 1))


def test_the_drawn_order() -> None:
    assert shuffled(9, shift=5, groups=2, variant="slides") == [5, 9, 6, 1, 7, 2, 8, 3]
    assert pieces(9, branches=4, shift=5, groups=2, variant="slides") == [[5, 9], [6, 1], [7, 2], [8, 3]]
    assert pieces(9, branches=4, shift=5, groups=2, variant="code") == [[5, 1], [6, 2], [7, 3], [8, 4]]


@pytest.mark.parametrize("patches", [8, 32, 128, 210, 242, 310])
def test_both_readings_agree_where_nothing_is_left_over(patches: int) -> None:
    code, slides = (shuffled(patches, shift=5, groups=2, variant=variant) for variant in ("code", "slides"))
    assert code == slides


@pytest.mark.parametrize("patches", [8, 9, 11, 32, 33, 128, 210])
def test_the_order_is_that_of_the_reference(patches: int) -> None:
    tokens = np.arange(1 + patches, dtype=float)[:, None]
    assert shuffled(patches, shift=5, groups=2, variant="code") == reference.shuffle_unit(tokens, 5, 2)[:, 0].tolist()


def test_what_does_not_part_into_the_pieces_is_left_out() -> None:
    found = pieces(210, branches=4, shift=5, groups=2, variant="code")
    assert [len(piece) for piece in found] == [52] * 4
    assert len({patch for piece in found for patch in piece}) == 208


@pytest.mark.parametrize(
    ("patches", "options"),
    [
        (4, {}), (0, {"shift": 1}), (1, {"shift": 1, "groups": 2, "variant": "slides"}), (8, {"branches": 9}),
        (10, {"groups": 4}), (9, {"branches": 1, "variant": "slides"}),
    ],
)  # fmt: skip
def test_too_few_patches_are_refused(patches: int, options: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"branches": 4, "shift": 5, "groups": 2, "variant": "code"}
    with pytest.raises(UserError) as caught:
        pieces(patches, **(usual | options))
    assert caught.value.where.startswith("method.jpm_")


def _made() -> tuple[ViT, Jigsaw]:
    torch.manual_seed(0)
    backbone = ViT(VitConfig(width=12, depth=2, heads=3, patch=4, stride=4), height=12, width=12).double()
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.5)
    return backbone, Jigsaw(backbone, branches=4, shift=5, groups=2, variant="code").double()


def test_features_equal_the_reference() -> None:
    """Nine patches: the shuffle's remainder too."""
    _, jigsaw = _made()
    tokens = torch.randn(2, 10, 12, dtype=torch.float64)
    keep = torch.tensor([0.0, 1.25, 1.25, 0.0] * 4, dtype=torch.float64).reshape(4, 2, 2)
    weights = {name: value.numpy() for name, value in jigsaw.block.state_dict().items()}
    norm = (jigsaw.norm.weight.detach().numpy(), jigsaw.norm.bias.detach().numpy())
    for dropped in (None, keep):
        found = jigsaw(tokens, dropped).detach().numpy()
        for image in range(2):
            scale = np.ones((4, 2)) if dropped is None else dropped[:, :, image].numpy()
            wanted = reference.jigsaw(tokens[image].numpy(), weights, 3, norm, scale)
            np.testing.assert_allclose(found[image], wanted, rtol=1e-10, atol=1e-12)


def test_it_begins_as_a_copy_and_goes_its_own_way() -> None:
    backbone, jigsaw = _made()
    own, last = jigsaw.block.state_dict(), backbone.blocks[-1].state_dict()
    assert all(torch.equal(own[name], last[name]) for name in last)
    own["norm1.weight"].zero_()
    assert last["norm1.weight"].all()
    assert not [name for name in jigsaw.state_dict() if "places" in name]
