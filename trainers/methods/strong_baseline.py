"""The strong baseline: one backbone, a batch norm between the two losses, and little else.

    image -> backbone -> map (b, C, h, w) -> mean -> f (b, C)          triplet loss on f
    f -> batch norm without shift -> g -> classifier without bias      identity loss on the logits; g / |g| at test

The batch norm (BNNeck) lets the identity loss shape a hypersphere while the triplet loss keeps the free space before.

Source: Luo et al. 2019 (arXiv:1903.07071) and its published code: BNNeck's bias is frozen at 0, the classifier starts
from N(0, 0.001), the triplet's feature is not normalised, the feature at test is the one after BNNeck. Center loss
(+0.2 mAP there) needs an optimiser of its own and is not part of this method.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from resight.datasets.batch import Batch
from resight.trainers.checks import at_least, of_kind
from resight.trainers.losses.identity import IdentityConfig, identity_loss
from resight.trainers.losses.triplet import TripletConfig, triplet_loss
from resight.trainers.methods.method import Attend, DataShape, Method, Models, State, Views, labels_of, seeded
from resight.trainers.models.build import build_backbone
from resight.trainers.models.looking import FEATURE_NORM, feature_norm
from resight.trainers.models.resnet import ResNetConfig

if TYPE_CHECKING:
    from resight.trainers.config import Config

__all__ = ["METHOD", "StrongBaseline"]


@dataclass(frozen=True, kw_only=True)
class StrongBaseline:
    """Settings of the strong baseline.

    Attributes:
        kind: tells this method from others.
        identity: the loss of the classifier.
        triplet: the loss of the feature before BNNeck.
        identity_weight: weight of the identity loss.
        triplet_weight: weight of the triplet loss.
        classifier_std: standard deviation of the classifier's first weights.
    """

    kind: Literal["strong_baseline"] = "strong_baseline"
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    triplet: TripletConfig = field(default_factory=TripletConfig)
    identity_weight: float = 1.0
    triplet_weight: float = 1.0
    classifier_std: float = 0.001

    def __post_init__(self) -> None:
        at_least("method.identity_weight", self.identity_weight, 0)
        at_least("method.triplet_weight", self.triplet_weight, 0)
        at_least("method.classifier_std", self.classifier_std, 0)


def build(config: "Config", shape: DataShape) -> Models:
    """Return backbone, neck and classifier, seeded by `config.seed`."""
    with seeded(config.seed):
        backbone = build_backbone(of_kind("model", config.model, ResNetConfig))
        classifier = nn.Linear(backbone.dim, shape.num_classes, bias=False)
        nn.init.normal_(classifier.weight, std=_settings(config).classifier_std)
    neck = nn.BatchNorm1d(backbone.dim)
    neck.bias.requires_grad_(False)
    return Models({"backbone": backbone, "neck": neck, "classifier": classifier})


def features(models: Models, batch: Batch, config: "Config") -> dict[str, Tensor]:
    """Return {"global": (b, C)}: the mean over the last feature map."""
    return {"global": _pooled(models, batch.images)}


def losses(
    models: Models, gathered: dict[str, Tensor], batch: Batch, config: "Config", state: State
) -> dict[str, Tensor]:
    """Return the identity and triplet losses of the logical batch."""
    settings, labels = _settings(config), labels_of(batch)
    logits = models["classifier"](models["neck"](gathered["global"]))  # (L, K)
    return {
        "id": identity_loss(logits, labels, settings.identity),
        "triplet": triplet_loss(gathered["global"], labels, settings.triplet),
    }


def weights(config: "Config") -> dict[str, float]:
    """Return the weight of each loss."""
    settings = _settings(config)
    return {"id": settings.identity_weight, "triplet": settings.triplet_weight}


def embed(models: Models, views: Views, config: "Config") -> Float[Tensor, "b c"]:
    """Return the feature after BNNeck, L2-normalised: Euclidean order is cosine order."""
    return F.normalize(models["neck"](_pooled(models, views.images)), dim=1)


def attend(models: Models, views: Views, config: "Config") -> Float[Tensor, "b h w"]:
    """Return the length of the last map's vectors, whose mean is the feature."""
    return feature_norm(models["backbone"](views.images))


def initial_state(models: Models, config: "Config", shape: DataShape) -> State:
    """Return no state: this method remembers nothing."""
    return {}


def _settings(config: "Config") -> StrongBaseline:
    return of_kind("method", config.method, StrongBaseline)


def _pooled(models: Models, images: Tensor) -> Float[Tensor, "b c"]:
    """Return the spatial mean of the last map, summed in float32 at least."""
    last = models["backbone"](images)
    return last.mean(dim=(2, 3), dtype=torch.promote_types(last.dtype, torch.float32))


METHOD = Method(
    build=build,
    features=features,
    losses=losses,
    weights=weights,
    embed=embed,
    initial_state=initial_state,
    attend=Attend(legend=FEATURE_NORM, maps=attend),
)
