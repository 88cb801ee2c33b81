"""Print a hash over some frames of the world, for tests that compare machines: run in a process of its own."""

import hashlib
import sys

from resight.rendering.capsule import capsule_body
from resight.rendering.picture import picture
from resight.rendering.splits import SPLITS
from resight.rendering.world import WORLDS, identities, images


def main() -> None:
    digest, body, world = hashlib.sha256(), capsule_body(), WORLDS["tiny"]
    for split in SPLITS:
        for pid in identities(world, split, "query")[:3]:
            for spec in list(images(world, split, "query", pid))[:3]:
                taken = picture(body, 0, spec)
                for plane in (taken.image, taken.mask, taken.parts, taken.keypoints, taken.depth):
                    digest.update(plane.tobytes())
    sys.stderr.write(digest.hexdigest())


if __name__ == "__main__":
    main()
