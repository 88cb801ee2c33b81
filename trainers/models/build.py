"""From a backbone's settings to a network with its first weights."""

from resight.trainers.models.resnet import ResNet, ResNetConfig
from resight.trainers.models.weights import load_weights

__all__ = ["build_backbone"]


def build_backbone(config: ResNetConfig) -> ResNet:
    """Return the backbone that `config` describes, its weights loaded where it names some.

    Random weights come from torch's global generator: seed it around this call.

    Raises:
        UserError: when the weights cannot be found or do not fit.
    """
    backbone = ResNet(config)
    if config.weights is not None:
        load_weights(backbone, config.weights, allow_download=config.download == "allow")
    return backbone
