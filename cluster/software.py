"""Health checks of the software: Python, packages, torch and its torchvision, accelerators, Ray and its token.

Secrets are never read: of the token file only its presence and mode are looked at.
"""

import importlib.metadata
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

from resight.cluster.check import Check, graded
from resight.cluster.errors import UserError
from resight.cluster.private_ray import token_path
from resight.cluster.session import answers, ray_session

__all__ = [
    "check_accelerator",
    "check_local_ray",
    "check_packages",
    "check_python",
    "check_ray_address",
    "check_token",
    "check_torch",
    "requirements_of",
    "software_checks",
]

_INSTALL = "install the package again, with its dependencies"


def software_checks(distribution: str) -> list[Check]:
    """Check the interpreter and what `distribution` needs; nothing is started."""
    torch = check_torch()
    return [
        check_python(sys.version_info[:3]),
        check_packages(requirements_of(distribution)),
        torch,
        *([check_accelerator()] if torch.status == "ok" else []),
        check_ray_address(os.environ.get("RAY_ADDRESS", "")),
        check_token(token_path(), os.environ.get("RAY_AUTH_MODE", "")),
    ]


def check_python(version: tuple[int, int, int]) -> Check:
    """Judge the interpreter's version."""
    detail = ".".join(str(part) for part in version)
    return graded("Python", detail, "use Python 3.11 or newer", fail=version < (3, 11, 0))


def requirements_of(distribution: str) -> list[str] | None:
    """Return what an installed distribution requires, without its extras; None when it is not installed."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    needed = [Requirement(line) for line in lines]
    return [str(each) for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]


def check_packages(requirements: Iterable[str] | None) -> Check:
    """Compare installed versions with what is required."""
    if requirements is None:
        detail = "this program runs from its source folder: versions were not compared"
        return Check(name="packages", status="warn", detail=detail, cure="pip install -e . to have them compared")
    needed = [Requirement(line) for line in requirements]
    faults = [fault for each in needed if (fault := _fault(each))]
    return graded("packages", "; ".join(faults) or f"{len(needed)} as required", _INSTALL, fail=bool(faults))


def _fault(needed: Requirement) -> str:
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{needed.name} is not installed"
    return (
        ""
        if needed.specifier.contains(version, prereleases=True)
        else f"{needed.name} {version}, not {needed.specifier}"
    )


def check_torch() -> Check:
    """Load torch and torchvision, and call a compiled operator: a pair of different builds fails here."""
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (ImportError, RuntimeError, OSError) as error:
        cure = "install torch and torchvision of one release, built alike (both CPU or both CUDA)"
        return Check(name="torch", status="fail", detail=str(error).partition("\n")[0], cure=cure)
    pair = f"torch {torch.__version__}, torchvision {importlib.metadata.version('torchvision')}"
    return Check(name="torch", status="ok", detail=pair)


def check_accelerator(driver: Path = Path("/proc/driver/nvidia")) -> Check:
    """Name the accelerators. Having none is fine; having one that torch cannot use is not."""
    import torch

    if not torch.cuda.is_available():
        cure = "install a CUDA build of torch that fits the driver"
        unused = driver.exists()
        return graded("accelerator", "a GPU that torch cannot use" if unused else "CPU only", cure, warn=unused)
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    detail = ", ".join(f"{device.name} ({device.total_memory / (1 << 30):.0f} GiB)" for device in devices)
    return Check(name="accelerator", status="ok", detail=detail)


def check_ray_address(address: str) -> Check:
    """See whether the cluster of RAY_ADDRESS answers."""
    if not address:
        return Check(name="Ray cluster", status="ok", detail="RAY_ADDRESS is not set: Ray starts locally when needed")
    try:
        reached = answers(address)
    except UserError as error:
        return Check(name="Ray cluster", status="fail", detail=error.problem, cure=error.cure)
    cure = "check the address and the network, or unset RAY_ADDRESS to work locally"
    return graded("Ray cluster", f"{address}: {'it' if reached else 'nothing'} answers", cure, fail=not reached)


def check_token(path: Path, mode: str) -> Check:
    """See whether Ray's token authentication is on and its file closed to other users."""
    if mode.lower() == "disabled":
        cure = "unset RAY_AUTH_MODE: without a token anybody who reaches Ray's ports can run code"
        return Check(name="Ray token", status="warn", detail="RAY_AUTH_MODE=disabled", cure=cure)
    if not path.is_file():
        return Check(name="Ray token", status="ok", detail="none yet: Ray makes one when it first starts")
    is_open = bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    return graded(
        "Ray token", f"{path} is {'open' if is_open else 'closed'} to others", f"chmod 600 {path}", warn=is_open
    )


def check_local_ray() -> Check:
    """Start a private session (or join the one that is set) and run a task in it: some 10 s."""
    try:
        with ray_session(workers_cpus=1) as session:
            import ray

            answer = ray.get(ray.remote(num_cpus=0)(_three).remote(), timeout=60.0)
    except UserError as error:
        return Check(name="Ray task", status="fail", detail=error.problem, cure=error.cure)
    place = "a private session" if session.started else session.address
    return graded("Ray task", f"a task ran in {place}", "see Ray's logs", fail=answer != 3)


def _three() -> int:
    return 1 + 2
