import resource
import socket
from dataclasses import fields
from pathlib import Path

import pytest

from resight.cluster import software
from resight.cluster.bucket_check import check_bucket
from resight.cluster.doctor import Check, healthy, run_checks
from resight.cluster.machine import (
    available_cores,
    available_memory,
    check_cores,
    check_disk,
    check_folder,
    check_memory,
    check_open_files,
    check_shared_memory,
)
from resight.cluster.session import Session
from resight.cluster.storage import open_storage
from tests.s3.fixtures import place_on

GIB = 1 << 30


@pytest.mark.parametrize("server", ["moto", "swift"])
def test_a_bucket_is_tried(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    place = place_on(request.getfixturevalue(server), monkeypatch)
    found = check_bucket(place)
    assert found.status in (("ok",) if server == "moto" else ("ok", "warn"))
    assert f"{place}: readable and writable" in found.detail
    assert open_storage(place).list() == []
    missing = check_bucket("s3://nobody-made-this")
    assert (missing.status, missing.name) == ("fail", "bucket")
    assert "there is no such bucket" in missing.detail
    assert run_checks(place)[-1].name == "bucket"


def test_this_machine_is_checked_as_a_whole(tmp_path: Path):
    checks = run_checks(tmp_path / "not" / "yet")
    names = [check.name for check in checks]
    assert names == [
        *("Python", "packages", "torch", "accelerator", "Ray cluster", "Ray token"),
        *("cores", "memory", "disk", "folder", "shared memory", "sharing", "open files"),
    ]
    assert not (tmp_path / "not").exists()
    for check in checks:
        assert check.detail
        assert bool(check.cure) == (check.status != "ok")
    assert [check.status for check in checks if check.name in {"Python", "packages", "torch", "folder"}] == ["ok"] * 4


def test_warnings_are_healthy_and_failures_are_not():
    assert [field.name for field in fields(Check)] == ["name", "status", "detail", "cure"]
    warn = Check(name="a", status="warn", detail="b")
    assert healthy([warn])
    assert not healthy([warn, Check(name="a", status="fail", detail="b")])


@pytest.mark.parametrize(
    ("check", "status"),
    [
        (check_cores(1), "warn"),
        (check_cores(1.5), "warn"),
        (check_cores(2), "ok"),
        (check_memory(GIB), "fail"),
        (check_memory(3 * GIB), "warn"),
        (check_memory(4 * GIB), "ok"),
        (check_disk(GIB - 1, "/x"), "fail"),
        (check_disk(9 * GIB, "/x"), "warn"),
        (check_disk(10 * GIB, "/x"), "ok"),
        (check_shared_memory(64 << 20), "warn"),
        (check_shared_memory(GIB), "ok"),
        (check_open_files(1024), "warn"),
        (check_open_files(65536), "ok"),
        (check_open_files(resource.RLIM_INFINITY), "ok"),
        (software.check_python((3, 10, 9)), "fail"),
        (software.check_python((3, 13, 0)), "ok"),
        (software.check_packages(["numpy>=1"]), "ok"),
        (software.check_packages(["numpy>=99"]), "fail"),
        (software.check_packages(["no-such-package-here"]), "fail"),
        (software.check_packages(None), "warn"),
        (software.check_ray_address(""), "ok"),
        (software.check_ray_address("nonsense"), "fail"),
        (software.check_ray_address("127.0.0.1:1"), "fail"),
    ],
)
def test_limits(check: Check, status: str):
    assert check.status == status


def test_faults_of_packages_are_named():
    detail = software.check_packages(["numpy>=99", "no-such-package-here", "pytest"]).detail
    assert "numpy" in detail
    assert "not >=99" in detail
    assert "no-such-package-here is not installed" in detail
    assert "pytest" not in detail


def test_requirements_leave_extras_out():
    needed = software.requirements_of("hypothesis")
    assert needed is not None
    assert any(line.startswith("sortedcontainers") for line in needed)
    assert not any(line.startswith("django") for line in needed)
    assert software.requirements_of("no-such-package-here") is None


def test_a_listening_cluster_answers():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert software.check_ray_address(f"127.0.0.1:{listener.getsockname()[1]}").status == "ok"


def test_the_token_is_judged_by_its_mode_only(tmp_path: Path):
    token = tmp_path / "auth_token"
    assert software.check_token(token, "").status == "ok"
    token.write_text("secret")
    token.chmod(0o644)
    check = software.check_token(token, "token")
    assert check.status == "warn"
    assert check.cure == f"chmod 600 {token}"
    token.chmod(0o600)
    assert software.check_token(token, "").status == "ok"
    assert software.check_token(token, "disabled").status == "warn"


def test_a_gpu_that_torch_cannot_use_is_a_warning(tmp_path: Path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("torch can use the GPU of this machine")
    assert software.check_accelerator(tmp_path / "absent").detail == "CPU only"
    assert software.check_accelerator(tmp_path).status == "warn"


def test_a_mismatched_pair_fails(monkeypatch: pytest.MonkeyPatch):
    def broken(*boxes: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr("torchvision.ops.nms", broken)
    check = software.check_torch()
    assert check.status == "fail"
    assert check.detail == "operator torchvision::nms does not exist"


def test_an_unusable_folder_fails(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert check_folder(tmp_path / "file").status == "fail"
    assert check_folder(tmp_path).status == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_limits_of_the_container_count(tmp_path: Path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert available_cores(tmp_path) == 0.5
    assert available_memory(tmp_path) == 600_000
    for name in ("cpu.max", "memory.max"):
        (tmp_path / name).write_text("max 100000\n")
    assert available_cores(tmp_path) >= 1
    assert available_memory(tmp_path) > 1_000_000


@pytest.mark.ray
def test_the_deep_check_runs_a_task(ray_cluster: Session, tmp_path: Path):
    check = run_checks(tmp_path, deep=True)[-1]
    assert (check.name, check.status) == ("Ray task", "ok")
    assert ray_cluster.address in check.detail
