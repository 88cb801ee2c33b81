import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from resight.cluster.errors import UserError
from resight.cluster.session import Session, answers, ray_session


def test_a_dead_address_is_explained(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"), ray_session():
        pass


@pytest.mark.parametrize("address", ["ray://host:10001", "somewhere", "host:port"])
def test_an_address_of_another_form_is_explained(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=r"address|attach"), ray_session(address=address):
        pass


def test_answers_tells_a_listener_from_none():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert answers(address)
    assert not answers(address)


def own_address() -> str:
    """Return this machine's address as others see it; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


@pytest.mark.ray
def test_a_started_cluster_is_private(ray_cluster: Session):
    assert ray_cluster.started
    assert ray_cluster.cpus == 2
    assert ray_cluster.address.startswith("127.0.0.1:")
    assert answers(ray_cluster.address)
    port = ray_cluster.address.rpartition(":")[2]
    assert not answers(f"{own_address()}:{port}")


@pytest.mark.ray
def test_workers_know_their_cluster(ray_cluster: Session):
    names = ("RAY_ADDRESS", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "RAY_USAGE_STATS_ENABLED")
    task = ray.remote(lambda: [os.environ.get(name) for name in names])
    assert ray.get(task.remote()) == [ray_cluster.address, "0.2", "0"]


@pytest.mark.ray
def test_an_inner_session_joins_and_leaves_the_outer_open(ray_cluster: Session):
    with ray_session(workers_cpus=7) as inner:
        assert inner == Session(address=ray_cluster.address, started=False, cpus=2.0)
    assert ray.is_initialized()


JOIN = """
import sys
from resight.cluster.session import ray_session
with ray_session() as session:
    sys.stdout.write(repr(session))
"""


@pytest.mark.ray
def test_a_child_process_attaches_by_the_environment(ray_cluster: Session):
    done = subprocess.run([sys.executable, "-c", JOIN], capture_output=True, text=True, timeout=60, check=True)
    assert eval(done.stdout) == Session(address=ray_cluster.address, started=False, cpus=2.0)


ALONE = """
import os, sys
from pathlib import Path
from resight.cluster.session import ray_session
before = dict(os.environ)
with ray_session(workers_cpus=1) as session:
    import ray
    folder = Path(ray._private.worker._global_node.get_session_dir_path())
    token = Path.home() / ".ray" / "auth_token"
    private = folder.parents[1]
    lines = [oct(token.stat().st_mode)[-3:], oct(private.stat().st_mode)[-3:], str(session.started)]
    secret = token.read_text()
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
ours = changed - {"RAY_AUTH_MODE", "RAY_CLIENT_MODE"}  # Ray sets these itself
lines += [str(private.exists()), str(ray.is_initialized()), ",".join(sorted(ours))]
sys.stdout.write("|".join(lines))
assert secret
"""


@pytest.mark.slow
def test_a_session_of_its_own_keeps_its_secrets_and_cleans_up(tmp_path: Path):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={**inherited, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("|") == ["600", "700", "True", "False", "False", ""]
    secret = (tmp_path / ".ray" / "auth_token").read_text()
    assert secret not in done.stdout + done.stderr
