"""`resight doctor` as values: everything that must hold on a machine before long work is worth starting.

The checks stand in `software.py` and `machine.py`; the command line draws them. Graphics libraries and fonts are not
looked at, because nothing here needs them.
"""

from collections.abc import Sequence
from pathlib import Path

from resight.cluster.bucket_check import check_bucket
from resight.cluster.check import Check
from resight.cluster.machine import machine_checks
from resight.cluster.software import check_local_ray, software_checks
from resight.cluster.storage import is_url

__all__ = ["Check", "healthy", "run_checks"]


def run_checks(folder: str | Path = ".", *, deep: bool = False, distribution: str = "resight") -> list[Check]:
    """Check software and machine.

    Args:
        folder: where things are to be published, a folder or s3://bucket/prefix; need not exist yet.
        deep: also start Ray and run a task in it (about 10 s).
        distribution: the installed package whose requirements must be met.
    """
    here = Path() if is_url(folder) else Path(folder).expanduser()
    checks = [*software_checks(distribution), *machine_checks(here)]
    if is_url(folder):
        checks.append(check_bucket(str(folder)))
    return [*checks, check_local_ray()] if deep else checks


def healthy(checks: Sequence[Check]) -> bool:
    """Tell whether nothing failed; warnings are healthy."""
    return all(check.status != "fail" for check in checks)
