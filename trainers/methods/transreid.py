"""TransReID: a vision transformer told which camera looks (SIE), with features of shuffled groups of patches (JPM).

    image -> patches, + positions, + 3 e_camera -> all blocks but the last -> tokens
    tokens -> last block, norm -> f_0                                    the global feature
    tokens, shuffled, in k pieces -> a block and norm shared by them -> f_1 .. f_k
    each f_i: triplet loss; batch norm without shift, classifier without bias: identity loss
    at test: [f_0, f_1 / k, .., f_k / k], L2-normalised

The losses of the pieces are averaged, and weighed against the global ones: published code, halves (0.5 and 0.5); the
paper's formula and slides, 1 and 1. The code keeps three last blocks: its backbone's own, never run, and the copies b1
(for f_0) and b2. Here the backbone's own is b1, so no parameter is idle.

Source: He et al. 2021 (arXiv:2102.04378) and its published code: soft-margin triplet on distances that are not squared,
no label smoothing, classifiers from N(0, 0.001), and at test the features before the batch norm. Drop-path acts in
every block, the pieces' own draws included, as in the code.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from resight.datasets.batch import Batch
from resight.trainers.checks import at_least, of_kind
from resight.trainers.draws import drop_path
from resight.trainers.losses.identity import IdentityConfig, identity_loss
from resight.trainers.losses.triplet import TripletConfig, triplet_loss
from resight.trainers.methods.method import DataShape, Method, Models, State, Views, labels_of, seeded
from resight.trainers.models.camera_shift import CameraShift
from resight.trainers.models.jigsaw import Jigsaw
from resight.trainers.models.transreid_weights import is_transreid, load_transreid
from resight.trainers.models.vit import ViT, VitConfig
from resight.trainers.models.vit_weights import load_vit
from resight.trainers.models.weights import read_weights

if TYPE_CHECKING:
    from resight.trainers.config import Config

__all__ = ["METHOD", "TransReID"]


@dataclass(frozen=True, kw_only=True)
class TransReID:
    """Settings of TransReID.

    Attributes:
        kind: tells this method from others.
        identity: the loss of each classifier.
        triplet: the loss of each feature before its batch norm.
        identity_weight: weight of all identity losses together.
        triplet_weight: weight of all triplet losses together.
        classifier_std: standard deviation of the classifiers' first weights.
        jpm_branches: pieces that the patches are shared out to, k; 0 leaves the global feature alone.
        jpm_shift: number of the patch that the shuffle begins with.
        jpm_groups: runs of patches that the shuffle interleaves.
        jpm_shuffle: what it does with a remainder: code, as published, or slides, as drawn (`models/jigsaw.py`).
        jpm_weights: global and local losses: code, 0.5 and 0.5; slides, 1 and 1. The local one is a mean over pieces.
        sie: camera adds a learned vector for each camera to all tokens; none adds nothing.
        sie_factor: on those vectors.
        neck_feature: whether features are compared before or after their batch norm.
        published_heads: when `model.weights` is a whole published model: fresh begins classifiers and camera vectors
            anew, since they are of other people and cameras; load takes them too, and their numbers must fit the data.
    """

    kind: Literal["transreid"] = "transreid"
    identity: IdentityConfig = field(default_factory=lambda: IdentityConfig(smoothing=0.0))
    triplet: TripletConfig = field(default_factory=lambda: TripletConfig(margin=None))
    identity_weight: float = 1.0
    triplet_weight: float = 1.0
    classifier_std: float = 0.001
    jpm_branches: int = 4
    jpm_shift: int = 5
    jpm_groups: int = 2
    jpm_shuffle: Literal["code", "slides"] = "code"
    jpm_weights: Literal["code", "slides"] = "code"
    sie: Literal["camera", "none"] = "camera"
    sie_factor: float = 3.0
    neck_feature: Literal["before", "after"] = "before"
    published_heads: Literal["fresh", "load"] = "fresh"

    def __post_init__(self) -> None:
        at_least("method.identity_weight", self.identity_weight, 0)
        at_least("method.triplet_weight", self.triplet_weight, 0)
        at_least("method.classifier_std", self.classifier_std, 0)
        at_least("method.jpm_branches", self.jpm_branches, 0)
        at_least("method.jpm_shift", self.jpm_shift, 1)
        at_least("method.jpm_groups", self.jpm_groups, 1)


def build(config: "Config", shape: DataShape) -> Models:
    """Return backbone, camera vectors, the pieces' block, necks and classifiers, seeded by `config.seed`.

    Raises:
        UserError: when the backbone is no vision transformer, or its weights cannot be found or do not fit.
    """
    settings, vit = _settings(config), of_kind("model", config.model, VitConfig)
    source = vit.weights or ""
    published = read_weights(source, allow_download=vit.download == "allow") if source else {}
    whole = is_transreid(published)
    with seeded(config.seed):
        backbone = ViT(vit, height=shape.height, width=shape.width)
        heads = _heads(settings, backbone.dim, shape)
    if source and not whole:
        load_vit(backbone, published, source, ratio=vit.grid_ratio)
    models = Models({"backbone": backbone, **_local(settings, backbone), **heads})
    if whole:
        fresh = settings.published_heads == "fresh"
        load_transreid(
            models, published, source, depth=vit.depth, grid=backbone.grid, ratio=vit.grid_ratio, fresh_heads=fresh
        )
    return models


def features(models: Models, batch: Batch, config: "Config") -> dict[str, Tensor]:
    """Return {"branches": (b, 1 + k, D)}: the global feature, then those of the pieces."""
    return {"branches": _branches(models, batch.images, batch.local(batch.camids), *_keep(models, batch, config))}


def losses(
    models: Models, gathered: dict[str, Tensor], batch: Batch, config: "Config", state: State
) -> dict[str, Tensor]:
    """Return identity and triplet loss of the global feature and, as means over them, of the pieces."""
    settings, labels = _settings(config), labels_of(batch)
    found: dict[str, list[Tensor]] = {"id": [], "triplet": []}
    for neck, classifier, feature in zip(
        _list(models, "necks"), _list(models, "classifiers"), gathered["branches"].unbind(1), strict=True
    ):
        found["id"].append(identity_loss(classifier(neck(feature)), labels, settings.identity))
        found["triplet"].append(triplet_loss(feature, labels, settings.triplet))
    whole = {name: each[0] for name, each in found.items()}
    return whole | {f"{name}_local": torch.stack(each[1:]).mean() for name, each in found.items() if len(each) > 1}


def weights(config: "Config") -> dict[str, float]:
    """Return the weight of each loss."""
    settings = _settings(config)
    both = {"id": settings.identity_weight, "triplet": settings.triplet_weight}
    if settings.jpm_branches == 0:
        return both
    share = 0.5 if settings.jpm_weights == "code" else 1.0
    return {f"{name}{which}": share * weight for which in ("", "_local") for name, weight in both.items()}


def embed(models: Models, views: Views, config: "Config") -> Float[Tensor, "b c"]:
    """Return the global feature and the pieces', these over k, side by side, L2-normalised: (b, (1 + k) D)."""
    found = _branches(models, views.images, views.camids)
    if _settings(config).neck_feature == "after":
        found = torch.stack([neck(each) for neck, each in zip(_list(models, "necks"), found.unbind(1), strict=True)], 1)
    pieces = found[:, 1:] / max(1, found.shape[1] - 1)
    return F.normalize(torch.cat([found[:, :1], pieces], dim=1).flatten(1), dim=1)


def initial_state(models: Models, config: "Config", shape: DataShape) -> State:
    """Return no state: this method remembers nothing."""
    return {}


def _settings(config: "Config") -> TransReID:
    return of_kind("method", config.method, TransReID)


def _list(models: Models, name: str) -> nn.ModuleList:
    found = models[name]
    assert isinstance(found, nn.ModuleList), "one layer a branch"
    return found


def _heads(settings: TransReID, width: int, shape: DataShape) -> dict[str, nn.Module]:
    """Return a neck and a classifier for each branch, and the camera vectors where they are wanted."""
    necks = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(1 + settings.jpm_branches))
    classifiers = nn.ModuleList(nn.Linear(width, shape.num_classes, bias=False) for _ in necks)
    for neck, classifier in zip(necks, classifiers, strict=True):
        neck.get_parameter("bias").requires_grad_(False)
        nn.init.normal_(classifier.get_parameter("weight"), std=settings.classifier_std)
    heads: dict[str, nn.Module] = {"necks": necks, "classifiers": classifiers}
    if settings.sie == "camera":
        heads["cameras"] = CameraShift(shape.num_cameras, width, factor=settings.sie_factor)
    return heads


def _local(settings: TransReID, backbone: ViT) -> dict[str, nn.Module]:
    """Return the pieces' block, a copy of the backbone's last as it is now."""
    if settings.jpm_branches == 0:
        return {}
    return {
        "local": Jigsaw(
            backbone,
            branches=settings.jpm_branches,
            shift=settings.jpm_shift,
            groups=settings.jpm_groups,
            variant=settings.jpm_shuffle,
        )
    }


def _branches(
    models: Models,
    images: Float[Tensor, "b 3 h w"],
    camids: Int64[Tensor, " b"],
    keep: Float[Tensor, "depth 2 b"] | None = None,
    keep_local: Float[Tensor, "pieces 2 b"] | None = None,
) -> Float[Tensor, "b k d"]:
    """Return all features of each image: global, then the pieces'; None drops nothing."""
    shift = models["cameras"](camids) if "cameras" in models else None
    first, tokens = models["backbone"](images, shift=shift, keep=keep)
    local = [models["local"](tokens, keep_local)] if "local" in models else []
    return torch.cat([first[:, None], *local], dim=1)


def _keep(models: Models, batch: Batch, config: "Config") -> tuple[Tensor, Tensor] | tuple[()]:
    """Return drop-path's draws for this rank's slots: of the backbone's blocks, and of the pieces' passes."""
    vit = of_kind("model", config.model, VitConfig)
    if vit.drop_path == 0 or not models.training:
        return ()
    pieces = _settings(config).jpm_branches
    rates = [*vit.drop_rates, *[vit.drop_path] * pieces]
    drawn = drop_path(rates, seed=batch.seed, epoch=batch.epoch, step=batch.step, slots=batch.places)
    whole = torch.from_numpy(drawn).to(batch.images.device, batch.images.dtype)
    return whole[: vit.depth], whole[vit.depth :]


METHOD = Method(
    build=build, features=features, losses=losses, weights=weights, embed=embed, initial_state=initial_state
)
