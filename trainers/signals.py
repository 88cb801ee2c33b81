"""Being told to stop: SIGTERM becomes a flag that the training loop reads between steps.

Only a process's main thread may set signal handlers, and Ray Train's train function is not in one; so under Ray the
driver catches the signal and leaves a note in the run folder, which the workers look for.

Source: design of this project.
"""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["StopNote", "on_sigterm"]


class StopNote:
    """A note in the run folder that asks every worker to save and return.

    Args:
        control: the run's `control` folder.
    """

    def __init__(self, control: Path) -> None:
        self._path = control / "stop"

    def leave(self) -> None:
        """Ask."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()

    def clear(self) -> None:
        """Take the note back."""
        self._path.unlink(missing_ok=True)

    def __bool__(self) -> bool:
        return self._path.exists()


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Generator[None]:
    """Call `act` at SIGTERM instead of dying, inside the block; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        act()

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
