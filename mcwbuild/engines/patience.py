"""How long a stage may still run: until its time is up, or until somebody says stop."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


class TimedOut(Exception):
    """The time was up."""


class Stopped(Exception):
    """Somebody said stop."""


@dataclass(frozen=True)
class Patience:
    """`deadline` on the monotonic clock in seconds, None: no end; `stop` is set by another thread."""

    deadline: float | None = None
    stop: threading.Event | None = None

    @classmethod
    def begin(cls, seconds: float | None, stop: threading.Event | None) -> Patience:
        """From now on, for `seconds`."""
        return cls(None if seconds is None else time.monotonic() + seconds, stop)

    def check(self) -> None:
        """Raises TimedOut or Stopped where there is none left."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimedOut
