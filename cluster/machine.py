"""Health checks of the machine: memory, cores, disk, shared memory, file limits, the folder to publish in.

Each check is a function of the measured value, so that its limits can be tested on any machine; `machine_checks`
measures. Limits of the container (cgroup v2) count where they are lower than the machine's.
"""

import os
import resource
import shutil
import uuid
from pathlib import Path

from resight.cluster.check import Check, graded
from resight.cluster.errors import UserError
from resight.cluster.shared_memory import share_memory
from resight.cluster.storage import LocalStorage

__all__ = [
    "available_cores",
    "available_memory",
    "check_cores",
    "check_disk",
    "check_folder",
    "check_memory",
    "check_open_files",
    "check_shared_memory",
    "check_sharing",
    "machine_checks",
]

_GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")
_SHARED = Path("/dev/shm")  # noqa: S108 - a file system, not a temporary file


def machine_checks(folder: Path) -> list[Check]:
    """Check this machine, and `folder` as the place where things are published."""
    there = _nearest(folder)
    return [
        check_cores(available_cores()),
        check_memory(available_memory()),
        check_disk(shutil.disk_usage(there).free, str(there)),
        check_folder(there),
        check_shared_memory(shutil.disk_usage(_SHARED).total if _SHARED.is_dir() else 0),
        check_sharing(),
        check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]


def check_cores(cores: float) -> Check:
    """Judge the number of cores."""
    cure = "2 cores are the least for training beside loading"
    return graded("cores", f"{cores:g} cores for this process", cure, warn=cores < 2)


def check_memory(free: int) -> Check:
    """Judge the memory that is free, in bytes. A trial run with two Ray workers takes about 2 GiB."""
    cure = "end other programs, or raise the container's limit"
    return graded("memory", f"{free / _GIB:.1f} GiB free", cure, fail=free < 1.5 * _GIB, warn=free < 4 * _GIB)


def check_disk(free: int, place: str) -> Check:
    """Judge the disk space behind the folder, in bytes."""
    cure = "free some space, or choose a folder on another disk"
    return graded("disk", f"{free / _GIB:.1f} GiB free at {place}", cure, fail=free < _GIB, warn=free < 10 * _GIB)


def check_shared_memory(total: int) -> Check:
    """Judge the size of the shared memory file system, in bytes: Ray's object store lives there."""
    cure = "start the container with --shm-size=2g, or mount a larger tmpfs"
    return graded("shared memory", f"{_SHARED} holds {total / _GIB:.2f} GiB", cure, warn=total < _GIB // 2)


def check_sharing() -> Check:
    """Share a page of memory by name, as training workers of one machine share decoded images."""
    try:
        share_memory(f"doctor{uuid.uuid4().hex[:16]}", 4096).close()
    except UserError as error:
        return Check(name="sharing", status="fail", detail=error.problem, cure=error.cure)
    return Check(name="sharing", status="ok", detail="processes can share memory by name")


def check_open_files(limit: int) -> Check:
    """Judge the soft limit of open files."""
    if limit == resource.RLIM_INFINITY:
        return Check(name="open files", status="ok", detail="no limit")
    return graded("open files", f"limit of {limit}", "ulimit -n 65536", warn=limit < 4096)


def check_folder(folder: Path) -> Check:
    """Publish, replace and remove a small object: writing, flushing, renaming and hard links must work."""
    storage = LocalStorage(folder)
    key = f"resight-doctor-{uuid.uuid4().hex}"
    try:
        storage.publish(b"1", key, exclusive=True)
        storage.publish(b"2", key)
        replaced = storage.read(key) == b"2" and not storage.publish(b"3", key, exclusive=True)
        storage.delete(key)
    except UserError as error:
        reason = error.problem.rpartition(": ")[2]
        detail = f"{folder} cannot be written to: {reason}"
        return Check(name="folder", status="fail", detail=detail, cure=error.cure)
    except OSError as error:
        return Check(name="folder", status="fail", detail=f"{folder}: {error.strerror}", cure="choose another folder")
    if not replaced:
        return Check(
            name="folder", status="fail", detail=f"{folder}: renaming is not atomic", cure="choose a local disk"
        )
    return Check(name="folder", status="ok", detail=f"{folder}: writable, atomic renames")


def available_cores(cgroup: Path = _CGROUP) -> float:
    """Return the cores that this process may use."""
    cores = float(len(os.sched_getaffinity(0)))
    quota, _, period = _text(cgroup / "cpu.max").partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdigit() else cores


def available_memory(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the free memory, in bytes, that this process may use."""
    lines = dict(line.split(":", 1) for line in _text(meminfo).splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = _text(cgroup / "memory.max"), _text(cgroup / "memory.current")
    if not (limit.isdigit() and used.isdigit()):
        return free
    files = dict(line.split() for line in _text(cgroup / "memory.stat").splitlines())
    return min(free, int(limit) - int(used) + int(files.get("inactive_file", 0)))  # pages of files give way


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


def _nearest(folder: Path) -> Path:
    """Return the folder, or the first of its parents that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())
