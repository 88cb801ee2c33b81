"""Which of the cameras a network was trained on took a picture that it is shown now.

A camera has a name, "data set/camid", and the training data's names stand in the checkpoint. A picture of a data set
with the same name and camid was taken by that camera. All others were taken by a camera that training has not seen:
-1, which a method must have an answer for (TransReID takes the mean of what it learned of all cameras).
A name that two training sources share tells nothing, so it is not looked up.

Source: design of this project. TransReID's published code fails at an unknown camera.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

__all__ = ["UNSEEN", "camera_numbers"]

UNSEEN = -1
"""The number of a camera that was not trained on, or is not known."""


def camera_numbers(cameras: Sequence[str], dataset: str, camids: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Return the number that each picture's camera had in training, `UNSEEN` where it had none.

    Args:
        cameras: names by number, as `DataShape.cameras`.
        dataset: name of the data set that the pictures are from.
        camids: cameras as that data set numbers them; below 0: not known.
    """
    numbers = {name: number for number, name in enumerate(cameras) if cameras.count(name) == 1}
    found, place = np.unique(camids, return_inverse=True)
    known = [numbers.get(f"{dataset}/{camid}", UNSEEN) for camid in found.tolist()]
    return np.array(known, np.int64)[place.reshape(-1)]
