"""Ends a process whose GPU call never comes back, after leaving a record of it.

Spins in the kernels are bounded, and `MicroKernel.run` polls and can stop a launch; this is the
last line, for a driver call that does not return. A Python exception cannot interrupt such a call,
so the process ends: the record on disk is what remains.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sbo_verify.verdict import ExitCode


class Watchdog:
    """A thread that waits for one guarded call at a time."""

    def __init__(self, end: Callable[[int], None] = os._exit) -> None:
        self._end = end

    @contextmanager
    def guard(self, seconds: float, leave_record: Callable[[], object]) -> Iterator[None]:
        """Run the body; if it takes longer than `seconds`, call `leave_record` and end."""
        timer = threading.Timer(seconds, self._expire, args=(leave_record,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self, leave_record: Callable[[], object]) -> None:
        try:
            leave_record()
        finally:
            self._end(ExitCode.UNKNOWN)
