"""The one error a user is meant to read: the value, the place, and the cure.

Everything else that is raised is our own fault and keeps its traceback; the command line turns a `UserError` into
one block of text and exit code 2.
"""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "did_you_mean"]


class UserError(Exception):
    """A mistake the user can mend.

    Args:
        problem: what is wrong, with the offending value, in one sentence.
        where: the file, key, flag or row it was found in.
        cure: what to do about it.
    """

    def __init__(self, problem: str, *, where: str = "", cure: str = "") -> None:
        self.problem = problem
        self.where = where
        self.cure = cure
        super().__init__(problem, where, cure)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip from a worker process to the driver."""
        return (_rebuild, (type(self), self.problem, self.where, self.cure))

    def __str__(self) -> str:
        """Join the three parts, one a line, leaving out what is empty."""
        where = f"\n  where: {self.where}" if self.where else ""
        cure = f"\n  cure:  {self.cure}" if self.cure else ""
        return f"{self.problem}{where}{cure}"


def _rebuild(kind: type[UserError], problem: str, where: str, cure: str) -> UserError:
    return kind(problem, where=where, cure=cure)


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for the nearest option, or the list of options when none is near."""
    known = sorted(options)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"choose one of: {', '.join(known)}" if known else "there is nothing to choose from"
