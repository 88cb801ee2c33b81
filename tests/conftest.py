"""What all tests share: shapes are checked, Ray is private and quick, and one small cluster serves every test of it."""

import os
from collections.abc import Generator

from tests import shapes

shapes.install("resight")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from resight.cluster.session import Session, ray_session  # noqa: E402
from tests.s3 import fixtures  # noqa: E402

moto, swift, on_moto = fixtures.moto, fixtures.swift, fixtures.on_moto

# A developer's own cluster and buckets are not ours to use, and a test writes no token into a home.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ.pop("RAY_ADDRESS", None)
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_raylet_start_wait_time_s="120")

# Kernels compile at their first call and the machine may be busy: time limits are pytest's business.
settings.register_profile("resight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("resight")

_QUICK_TRAIN = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of the Ray cluster in one process under `pytest -n N --dist loadgroup`: one cluster, not N."""
    for item in items:
        if item.get_closest_marker("ray") is not None:
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def ray_cluster() -> Generator[Session]:
    """One Ray cluster of 2 cores for all tests that are marked `ray`; `ray_session` inside a test joins it."""
    with ray_session(workers_cpus=2, env=_QUICK_TRAIN, object_store_mib=128) as session:
        yield session
