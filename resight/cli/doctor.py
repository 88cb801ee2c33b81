"""`resight doctor`: whether this machine is ready."""

from dataclasses import dataclass

from resight.cli.place import Place

__all__ = ["Doctor"]


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check packages, memory, disk and Ray; each line ok, warn or fail, with the cure. Exit code 1 when a line fails.

    Examples:
      resight doctor
      resight doctor --folder s3://lab/runs
      resight doctor --deep --folder /mnt/runs     # also starts Ray and runs a task on it
    """

    folder: Place = "."
    """Folder that runs and data will be written to, or s3://bucket/prefix."""
    deep: bool = False
    """Start a local Ray session and run a task on it."""
    json: bool = False
    """Print the checks as JSON."""

    def run(self) -> int:
        """Check and report."""
        from dataclasses import asdict

        from resight.cluster.doctor import run_checks
        from resight.findings import show_checks
        from resight.terminal import show_json

        checks = run_checks(self.folder, deep=self.deep)
        if self.json:
            show_json({"checks": [asdict(check) for check in checks]})
        else:
            show_checks(checks)
        return 1 if any(check.status == "fail" for check in checks) else 0
