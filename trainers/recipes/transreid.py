"""The recipe of TransReID, in three sizes.

Source: He et al. 2021 (arXiv:2102.04378) and the configurations published with its code.
"""

from resight.datasets.augment import AugmentConfig
from resight.datasets.sampler import SamplerConfig
from resight.trainers.config import Config, DataConfig, EngineConfig, RunConfig, Size
from resight.trainers.methods.transreid import TransReID
from resight.trainers.models.vit import VitConfig
from resight.trainers.optim import OptimConfig, ScheduleConfig

__all__ = ["transreid"]

_HALF = (0.5, 0.5, 0.5)
_EPOCHS: dict[Size, int] = {"paper": 120, "small": 120, "tiny": 24}
_IMAGES: dict[Size, tuple[int, int, int]] = {"paper": (256, 128, 10), "small": (128, 64, 5), "tiny": (128, 64, 5)}
_MODELS: dict[Size, VitConfig] = {
    "paper": VitConfig(weights="timm:vit_base_patch16_224.orig_in21k_ft_in1k"),
    "small": VitConfig(width=384, heads=6, patch=8, stride=8),
    "tiny": VitConfig(width=192, depth=6, heads=3),
}


def transreid(size: Size = "paper", *, epochs: int | None = None) -> Config:
    """TransReID: transformer-based object re-identification (He et al. 2021).

    Expected (the authors' tables, mAP / rank-1): Market-1501 88.2 / 94.9, MSMT17 64.9 / 83.3 with size paper; with
    --model.stride 12 (their TransReID*) 89.0 / 95.1 and 67.8 / 85.3; without pieces and cameras
    (--method.jpm-branches 0 --method.sie none) 87.1 / 94.2 and 61.0 / 81.8. Not yet repeated here.
    Cost: paper is 120 epochs of Market-1501 (12,936 images, 64 a step) on a GPU, 1.7 times that with stride 12; tiny
    takes about half a second for a step of 64 on one CPU core.
    Command: resight train transreid --data data/market --out runs/market --model.download allow

    Sizes: paper is as published, ViT-B/16 from ImageNet at 256x128; small is ViT-S from scratch with 8-pixel patches at
    128x64, so that it has the paper's 128 tokens; tiny is 192 wide and 6 deep with 32 tokens. The smaller two go the
    same code paths; trained from scratch, they take AdamW, and what is counted in pixels or epochs shrinks.
    The published code resizes test images bilinearly, here they are resized as in training; its erased boxes have
    aspects drawn evenly on a logarithmic scale, here evenly between 0.3 and 1 / 0.3.

    Args:
        size: which of the three.
        epochs: length; None is the size's own. The warm-up keeps its share of it, 1/24.
    """
    epochs = _EPOCHS[size] if epochs is None else epochs
    return Config(
        recipe="transreid",
        size=size,
        data=DataConfig(),
        sampler=SamplerConfig(ids_per_batch=16, images_per_id=4),
        augment=_augment(*_IMAGES[size]),
        model=_MODELS[size],
        method=TransReID(),
        optim=_optim(size),
        schedule=ScheduleConfig(
            kind="cosine", warmup_epochs=round(epochs / 24), milestones=(), period_epochs=epochs, floor_factor=0.002
        ),
        engine=EngineConfig(),
        run=RunConfig(epochs=epochs),
    )


def _augment(height: int, width: int, pad: int) -> AugmentConfig:
    """Bicubic resize, values in [-1, 1], erasing as timm's RandomErasing does it: noise on 2 % to a third."""
    return AugmentConfig(
        height=height,
        width=width,
        pad=pad,
        interpolation="cubic",
        mean=_HALF,
        std=_HALF,
        erase_fill="noise",
        erase_area=(0.02, 1 / 3),
        erase_tries=10,
    )


def _optim(size: Size) -> OptimConfig:
    if size == "paper":
        return OptimConfig(kind="sgd", lr=0.008, momentum=0.9, weight_decay=1e-4, bias_lr_scale=2.0)
    return OptimConfig(kind="adamw", lr=5e-4, weight_decay=0.05, bias_lr_scale=2.0, undecayed="vectors")
