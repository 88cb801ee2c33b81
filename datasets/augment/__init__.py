"""Augmentation as *draws + apply*: `draws.draw` decides, `fused.apply` does, `geometry` moves the labels along.

What is drawn for one slot of one step is a pure function of (seed, epoch, step, slot), so the same picture comes out
on any number of workers, threads or kinds of device.
"""

from resight.datasets.augment.config import AugmentConfig, ColourJitter

__all__ = ["AugmentConfig", "ColourJitter"]
