"""Children of tests that coverage does not trace."""

import os


def untraced() -> dict[str, str]:
    """Return this environment without what starts coverage in a child process.

    For programs that are not ours, times that are measured, and runs that are killed: what those counted is lost, tests
    cover the same lines in their own process, and a traced run takes half as long again.
    """
    return {key: value for key, value in os.environ.items() if not key.startswith("COV")}
