"""First weights for a backbone: from a file, or by name where the config allows a download; never silently.

Every key is accounted for. Those of the file's classifier are dropped by name, the wrappers' prefixes are stripped, and
what is then missing or left over is an error with the list: a half-loaded backbone trains, only worse, unseen.

Source of the names: torchvision and timm (`conv1.weight`, `layer1.0.bn1.weight`), IBN-Net (`layer1.0.bn1.IN.weight`),
reid-strong-baseline (`base.conv1.`), fast-reid (`backbone.conv1.`), MMT (`base.0.`) and DataParallel (`module.`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from resight.cluster.errors import UserError

__all__ = ["fill", "load_weights", "published_names", "read_weights"]

_WRAPPERS: Final = ("module.", "model.", "backbone.", "base.")
_NUMBERED: Final = {"0": "conv1", "1": "bn1", "3": "layer1", "4": "layer2", "5": "layer3", "6": "layer4"}
_HEADS: Final = ("fc.", "classifier.", "bottleneck.", "heads.", "feat.", "feat_bn.", "pixel_mean", "pixel_std")
_COUNTER: Final = "num_batches_tracked"
_TIMM: Final = "timm:"
_CURE: Final = "set model.depth, model.width and model.ibn to those of the weights"


def load_weights(backbone: nn.Module, source: str, *, allow_download: bool) -> None:
    """Fill `backbone` with published weights.

    Args:
        backbone: a network with torchvision's names.
        source: "timm:NAME", or the path of a .safetensors file or a torch file that holds plain tensors.
        allow_download: whether a named download may go out to the network.

    Raises:
        UserError: when the source does not exist or is not allowed, or a key or shape does not fit.
    """
    tensors = read_weights(source, allow_download=allow_download)
    fill(backbone, published_names(tensors), source, cure=_CURE)


def read_weights(source: str, *, allow_download: bool) -> dict[str, Tensor]:
    """Return published weights under their own names.

    Args:
        source: "timm:NAME", or the path of a .safetensors file or a torch file that holds plain tensors.
        allow_download: whether a named download may go out to the network.

    Raises:
        UserError: when the source does not exist, cannot be read or is not allowed.
    """
    return _download(source, allow_download) if source.startswith(_TIMM) else _read(Path(source))


def published_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the backbone's tensors under our names: wrappers' prefixes stripped, heads dropped.

    Raises:
        UserError: when two of them have the same name without their prefixes.
    """
    bare: dict[str, Tensor] = {}
    for full, tensor in tensors.items():
        name = _bare(full)
        if name in bare:
            raise UserError(f"two weights are named {name!r}", where=full, cure="give a file that holds one network")
        bare[name] = tensor
    return {name: tensor for name, tensor in bare.items() if not name.startswith(_HEADS)}


def _bare(name: str) -> str:
    """Strip the wrappers of a name, and name the members of a numbered sequence."""
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    first, dot, rest = name.partition(".")
    return _NUMBERED.get(first, first) + dot + rest


def fill(network: nn.Module, tensors: Mapping[str, Tensor], source: str, *, cure: str) -> None:
    """Fill `network` with tensors that carry its names; counters of batch norms may be left out.

    Args:
        network: whose every other name and shape must be there, and no other.
        tensors: the new values.
        source: where they are from, for the message.
        cure: what to do when they do not fit.

    Raises:
        UserError: with the list of names that are missing, not known or of another shape.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors and not name.endswith(_COUNTER)]
    extra = [name for name in tensors if name not in wanted]
    unlike = [
        f"{name} is {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
        for name, tensor in tensors.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    if missing or extra or unlike:
        lists = (("missing", missing), ("not known", extra), ("of another shape", unlike))
        problem = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in lists if names)
        raise UserError(
            f"the weights do not fit the network: {problem}",
            where=source,
            cure=cure,
        )
    network.load_state_dict(wanted | dict(tensors))


def _some(names: list[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"no weights at {path}", where="model.weights", cure="give the path of a file that exists")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _torch_file(path)
    except SafetensorError as error:
        raise UserError(f"this is not a safetensors file: {error}", where=str(path)) from error
    return loaded


def _torch_file(path: Path) -> dict[str, Tensor]:
    """Read a torch file without running anything in it; a state dict may lie one level down."""
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler's errors share no type
        raise UserError(
            f"this file does not hold plain tensors: {error}", where=str(path), cure="convert it to safetensors"
        ) from error
    for level in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(level), Mapping):
            loaded = loaded[level]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError("this file is not a state dict", where=str(path), cure="give a mapping of names to tensors")
    return dict(loaded)


def _download(source: str, allowed: bool) -> dict[str, Tensor]:
    if not allowed:
        raise UserError(
            f"{source} would have to be downloaded and model.download is 'never'",
            where="model.weights",
            cure="set model.download to allow, or model.weights to a file, or to null for random weights",
        )
    import timm  # slow to import, and needed for downloads only

    name = source.removeprefix(_TIMM)
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}", where="model.weights", cure="see timm.list_models()")
    return timm.create_model(name, pretrained=True).state_dict()
