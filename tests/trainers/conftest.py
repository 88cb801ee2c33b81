from collections.abc import Iterator

import pytest

from tests.trainers.ranks import Ranks


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Persistent gloo ranks on this machine."""
    started = Ranks()
    yield started
    started.close()
