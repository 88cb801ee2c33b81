"""What a run ran on: versions, machine, threads, code, commit and command line, with secrets left out.

Only named environment variables are kept, and values of arguments that look like secrets are blanked: this file ends up
in reports that people share.

Source: design of this project; the list of facts follows torch's collect_env.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch

from resight.trainers.source import package_folder, source_sha256

__all__ = ["environment", "without_secrets"]

_PACKAGES: Final = ("resight", "torch", "numpy", "numba", "ray", "opencv-python-headless", "pyarrow", "safetensors")
_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_SECRET: Final = re.compile(r"pass(word|wd)?|secret|token|credential|api.?key|access.?key", re.IGNORECASE)
_IN_URL: Final = re.compile(r"(\w+://)[^/@\s]+@")


def environment(*, workers: int, backend: str) -> dict[str, Any]:
    """Return the JSON-able facts of this process and machine.

    Args:
        workers: how many workers train.
        backend: where they run.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "workers": workers,
        "backend": backend,
        "code": {"path": str(package_folder()), "sha256": source_sha256()},
        "commit": _commit(),
        "command": without_secrets(sys.argv),
    }


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Blank the values of arguments whose name looks like a secret, and credentials inside URLs."""
    kept: list[str] = []
    blank_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = bool(_SECRET.search(name))
        if blank_next and not argument.startswith("-"):
            kept.append("***")
        elif secret and equals:
            kept.append(f"{name}=***")
        else:
            kept.append(_IN_URL.sub(r"\1***@", argument))
        blank_next = secret and not equals and argument.startswith("-")
    return kept


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    """Return the processor's name as Linux tells it."""
    facts = Path("/proc/cpuinfo")
    if not facts.is_file():
        return platform.processor()
    names = re.findall(r"^model name\s*:\s*(.+)$", facts.read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


def _commit() -> dict[str, Any] | None:
    """Return the commit this code lies in, and whether it was changed since; None outside a checkout of it."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    words = ["git", "-C", str(here), "rev-parse", "HEAD"]
    head = subprocess.run(words, capture_output=True, text=True, check=False)
    words = ["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(words, capture_output=True, text=True, check=False)
    return {"sha": head.stdout.strip(), "changed": bool(changed.stdout.strip())} if head.returncode == 0 else None
