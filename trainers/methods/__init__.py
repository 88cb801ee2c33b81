"""Methods: what is learned from a batch, as values. `METHODS[config.method.kind]` is the one a config asks for.

Source: design of this project; each method's file names its paper.
"""

from typing import TYPE_CHECKING, Final

from resight.trainers.methods import strong_baseline, transreid
from resight.trainers.methods.method import Method

if TYPE_CHECKING:
    from resight.trainers.config import Config

__all__ = ["METHODS", "method_of"]

METHODS: Final[dict[str, Method]] = {
    "strong_baseline": strong_baseline.METHOD,
    "transreid": transreid.METHOD,
}
"""Every method by the `kind` of its settings."""


def method_of(config: "Config") -> Method:
    """Return the method that `config.method` configures."""
    return METHODS[config.method.kind]
