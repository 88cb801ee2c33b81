"""What a health check says: a plain value that the command line renders."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "graded"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `resight doctor`.

    Attributes:
        name: what was looked at, e.g. "shared memory".
        status: "ok", "warn" (works, but slowly or unsafely) or "fail" (something will not run).
        detail: what was found.
        cure: what to do about it; empty when all is well.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    cure: str = ""


def graded(name: str, detail: str, cure: str, *, fail: bool = False, warn: bool = False) -> Check:
    """Return the check that these two findings make; a check that is well has no cure."""
    if fail:
        return Check(name=name, status="fail", detail=detail, cure=cure)
    if warn:
        return Check(name=name, status="warn", detail=detail, cure=cure)
    return Check(name=name, status="ok", detail=detail)
