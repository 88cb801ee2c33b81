"""What a person does in one picture: the activity that was drawn for it, as a pose.

What: `pose_for(activity, ...)` turns an activity and its drawn variations into joints' rotations against the common
stance (`stance.py`). Why: which variations occur, and how often, is a matter of the world and not of how joints turn.
Source: own; the poses are `poses` and `activities`. Trade-off: a handful of variations and no motion.
"""

import numpy as np
from jaxtyping import Float, Float32

from resight.rendering.activities import carrying, reaching, sitting
from resight.rendering.poses import Gait, standing, walking
from resight.rendering.splits import Activity

__all__ = ["pose_for"]


def pose_for(
    activity: Activity, gait: Gait, *, heading: float, phase: float, stands: bool, ways: Float[np.ndarray, "4"]
) -> Float32[np.ndarray, "24 3"]:
    """Return axis-angle rotations against the stance, radians, of one moment.

    Args:
        activity: what the person does.
        gait: how this person holds itself.
        heading: turn of the whole body about y, radians; 0 looks along +z.
        phase: of the step, or the weight on one leg, in [0, 1).
        stands: whether a person who may move stands.
        ways: uniform in [0, 1): variations of what is done.
    """
    if activity == "sitting":
        recline, spread, feet = 0.15 - 0.35 * ways[0], 0.05 + 0.2 * ways[1], 0.3 * (ways[2] - 0.5)
        return sitting(gait, heading=heading, recline=recline, spread=spread, feet=feet)
    if activity == "reaching":
        side = "left" if ways[1] < 0.5 else "right"
        return reaching(gait, heading=heading, side=side, height=1.5 + 1.2 * ways[2], out=0.5 * ways[3])
    if activity == "carrying":
        return carrying(phase, gait, heading=heading, what="box")
    if stands:
        return standing(gait, heading=heading, shift=2 * phase - 1)
    return walking(phase, gait, heading=heading)
