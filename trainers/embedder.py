"""From pictures to feature vectors with a trained network: evaluation mode, the test transform, fixed chunks.

Images go through the network `chunk` at a time, a data set's in the order of their keys, so that what is computed is a
function of the data alone and not of how many workers or callers share the work.
Source: design of this project; which feature is compared is the method's `embed`.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn
from torch.nn.functional import normalize

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, Step, silent
from resight.datasets.augment.plain import test_transform
from resight.datasets.dataset import Dataset
from resight.datasets.loader import iterate_images
from resight.trainers.cameras import UNSEEN, camera_numbers
from resight.trainers.config import Config
from resight.trainers.methods import method_of
from resight.trainers.methods.method import DataShape, Models, Views
from resight.trainers.models.looking import relative

__all__ = ["Embedder", "evaluating"]

Images = Sequence[UInt8[np.ndarray, "_ _ 3"]] | UInt8[np.ndarray, "n _ _ 3"]


class Embedder:
    """Turns images of people into L2-normalised feature vectors.

    Args:
        config: of the run that trained the networks.
        models: the networks, on their device.
        shape: of the data they were built for.
        chunk: images per forward pass.
        flip: whether a feature is the mean of the image's and its mirror image's, scaled to length 1 again (Luo et al.
            2019 and Gu et al. 2022 test so); twice the work.

    Attributes:
        config, models, shape, chunk, flip: as given.
        dim: length of a feature vector, D.
    """

    def __init__(
        self, config: Config, models: Models, shape: DataShape, *, chunk: int = 64, flip: bool = False
    ) -> None:
        self.config = config
        self.models = models
        self.shape = shape
        self.chunk = chunk
        self.flip = flip
        some = next(models.parameters())
        self._device, self._dtype = some.device, some.dtype
        empty = torch.zeros(1, 3, config.augment.height, config.augment.width)
        self.dim = self._forward(empty, np.full(1, UNSEEN)).shape[1]

    def __repr__(self) -> str:
        """Name recipe, size and dimension."""
        return f"Embedder({self.config.recipe!r}, size={self.config.size!r}, dim={self.dim}, device={self._device})"

    def embed(self, images: Images, camids: Sequence[int] | None = None) -> Float32[np.ndarray, "n d"]:
        """Return one L2-normalised vector for each image: inner products are cosines.

        Args:
            images: RGB crops, (h, w, 3) uint8 each, of any size; or one (n, h, w, 3) array.
            camids: the camera of each, a place in `shape.cameras`, -1 for one that was not trained on; None: all -1.
                Most methods do not look at it.

        Raises:
            UserError: for no images, one that is not (h, w, 3) uint8, or another number of cameras than of images.
        """
        _check(images)
        cameras = np.full(len(images), UNSEEN) if camids is None else np.asarray(camids, np.int64)
        if cameras.shape != (len(images),):
            raise UserError(
                f"there are {len(images)} images, and camids has the shape {cameras.shape}",
                where="camids",
                cure="give one camera for each image, or none at all",
            )
        parts = [slice(start, start + self.chunk) for start in range(0, len(images), self.chunk)]
        return np.concatenate([self._forward(self._transform(images[part]), cameras[part]) for part in parts])

    def embed_dataset(
        self, dataset: Dataset, rows: Int64[np.ndarray, " n"], progress: Progress = silent
    ) -> Float32[np.ndarray, "n d"]:
        """Return one vector for each row of a data set, in the order of `rows`.

        Raises:
            UserError: for no rows, and for images that cannot be read.
        """
        if len(rows) == 0:
            raise UserError("there are no rows to embed", where=dataset.name, cure="choose a split that has images")
        distinct, place = np.unique(rows, return_inverse=True)
        features = np.empty((len(distinct), self.dim), np.float32)
        cameras = camera_numbers(self.shape.cameras, dataset.name, dataset.index.camid[distinct])
        done = 0
        augment, threads = self.config.augment, self.config.data.threads
        for chunk, images in iterate_images(dataset, distinct, augment, chunk=self.chunk, threads=threads):
            there = np.searchsorted(distinct, chunk)
            features[there] = self._forward(images, cameras[there])
            done += len(chunk)
            progress(Step(task=f"embed {dataset.name}", done=done, total=len(distinct), unit="images"))
        return features[place]

    def look(self, dataset: Dataset, rows: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n h w"]:
        """Return where the network looks in each row's image, in the order of `rows`, 1 at each image's most.

        Only for a method that has `attend`, which says what is shown.

        Raises:
            UserError: for an image that cannot be read.
        """
        attend = method_of(self.config).attend
        assert attend is not None, "the caller asks whether there is something to look at"
        cameras = camera_numbers(self.shape.cameras, dataset.name, dataset.index.camid)
        augment, threads = self.config.augment, self.config.data.threads
        maps: dict[int, np.ndarray] = {}
        for chunk, images in iterate_images(dataset, np.unique(rows), augment, chunk=self.chunk, threads=threads):
            views = self._views(images, cameras[chunk])
            with torch.inference_mode(), evaluating(self.models):
                found = relative(attend.maps(self.models, views, self.config))
            maps |= zip(chunk.tolist(), found.float().cpu().numpy(), strict=True)
        return np.stack([maps[row] for row in rows.tolist()])

    def _transform(self, images: Images) -> Float32[Tensor, "b 3 height width"]:
        return torch.from_numpy(test_transform([np.ascontiguousarray(image) for image in images], self.config.augment))

    def _views(self, images: Float32[Tensor, "b 3 height width"], cameras: Int64[np.ndarray, " b"]) -> Views:
        camids = torch.from_numpy(cameras).to(self._device)
        return Views(images=images.to(self._device, self._dtype), camids=camids)

    def _forward(
        self, images: Float32[Tensor, "b 3 height width"], cameras: Int64[np.ndarray, " b"]
    ) -> Float32[np.ndarray, "b d"]:
        views = self._views(images, cameras)
        with torch.inference_mode(), evaluating(self.models):
            features: Tensor = method_of(self.config).embed(self.models, views, self.config)
            if self.flip:
                mirrored = replace(views, images=views.images.flip(-1))
                both = features + method_of(self.config).embed(self.models, mirrored, self.config)
                features = normalize(both, dim=1)
        result = features.float().cpu().numpy()
        if not np.isfinite(result).all():
            raise UserError(
                "the network's output is not finite", cure="take a checkpoint from before the loss diverged"
            )
        return result


@contextmanager
def evaluating(models: nn.Module) -> Generator[None]:
    """Put every layer into evaluation mode, and back into the mode it was in."""
    modes = [(module, module.training) for module in models.modules()]
    models.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check(images: Images) -> None:
    if len(images) == 0:
        raise UserError("there are no images to embed", cure="give at least one (h, w, 3) uint8 RGB array")
    for number, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise UserError(
                f"image {number} is {image.dtype} {image.shape}",
                where=f"images[{number}]",
                cure="give RGB arrays of shape (h, w, 3) and dtype uint8; one image goes in a list",
            )
