"""Start training in a process of its own, also under torchrun: `start_training.py CONFIG OUT [BACKEND WORKERS]`."""

import sys
from pathlib import Path

from resight.trainers.config import load_yaml
from resight.trainers.train import train

if __name__ == "__main__":
    config, out, *where = sys.argv[1:]
    backend, workers = where or ("local", "1")
    train(load_yaml(Path(config)), out=Path(out), backend=backend, workers=int(workers))  # type: ignore[arg-type]
