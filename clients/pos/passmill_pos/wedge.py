"""A scanner that is a keyboard: each line it types is a scan."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Final

from passmill_pos.outcomes import ExitStatus
from passmill_pos.scanned_text import PassName, read_scan

IDLE_SECONDS: Final = 5.0
"""So long nothing is scanned before what is kept is sent."""
GUARD_SECONDS: Final = 2.0
"""A code read twice within so long was meant once."""

UNREADABLE: Final = "\N{REPLACEMENT CHARACTER}"
"""In lines, for bytes that are not of its encoding."""


class Wedge:
    """Takes scans, one at a time, and does the same with each."""

    def __init__(
        self,
        *,
        act: Callable[[PassName], ExitStatus],
        refuse: Callable[[str], ExitStatus],
        when_idle: Callable[[], None],
        guard_seconds: float = GUARD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`act`: what to do with a pass. `refuse`: tells that a line names none. `when_idle`:
        called now and then while nothing is scanned. `guard_seconds`: a line that comes twice in a
        row within it is taken once."""
        self._act = act
        self._refuse = refuse
        self._when_idle = when_idle
        self._guard_seconds = guard_seconds
        self._clock = clock
        self._last: tuple[str, float] | None = None

    def run(self, lines: Iterable[str]) -> ExitStatus:
        """Takes lines to their end. NO_RIGHT ends it at once: no other scan would fare better.
        Whatever the reading of `lines` raises: those read before were taken."""
        waiting: SimpleQueue[str | Exception | None] = SimpleQueue()

        def read() -> None:
            try:
                for line in lines:
                    waiting.put(line)
                waiting.put(None)
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                waiting.put(error)

        threading.Thread(target=read, daemon=True).start()
        while True:
            try:
                line = waiting.get(timeout=IDLE_SECONDS)
            except Empty:
                self._when_idle()
                continue
            if line is None:
                return ExitStatus.DONE
            if isinstance(line, Exception):
                raise line
            if self._take(line) is ExitStatus.NO_RIGHT:
                return ExitStatus.NO_RIGHT

    def _take(self, line: str) -> ExitStatus:
        text = line.strip()
        if not text or self._is_repeated(text):
            return ExitStatus.DONE
        if UNREADABLE in text:
            return self._refuse("a line that is not UTF-8 names no pass")
        try:
            name = read_scan(text)
        except ValueError as error:
            return self._refuse(str(error))
        return self._act(name)

    def _is_repeated(self, text: str) -> bool:
        now = self._clock()
        last, self._last = self._last, (text, now)
        return last is not None and last[0] == text and now - last[1] < self._guard_seconds
