"""Start a training run in a process of its own: `python start_training.py CONFIG.yaml OUT`, also under torchrun."""

import sys
from pathlib import Path

from resight.trainers.config import load_yaml
from resight.trainers.train import train

if __name__ == "__main__":
    train(load_yaml(Path(sys.argv[1])), out=Path(sys.argv[2]))
