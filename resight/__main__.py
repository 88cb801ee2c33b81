"""`resight` and `python -m resight`: the command line's entry point."""

import sys

from resight.cli.app import run

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
