"""How far something is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from types import TracebackType
from typing import Final, Self, TextIO

_REDRAW_SECONDS: Final = 0.1
_LINE_SECONDS: Final = 10.0
_RATE_SECONDS: Final = 10.0
_BAR: Final = 24


class Progress:
    """Context manager; the last state stays on the screen. Told often, it draws seldom."""

    def __init__(self, label: str, *, unit: str = "rows", stream: TextIO | None = None) -> None:
        """`stream`: standard error unless given."""
        self._label = label
        self._unit = unit
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._pause = _REDRAW_SECONDS if self._is_terminal else _LINE_SECONDS
        self._began = time.monotonic()
        self._next_draw = self._began if self._is_terminal else self._began + self._pause
        self._seen: deque[tuple[float, int]] = deque()
        self._first: tuple[float, float] | None = None
        self._last = ""

    def show(
        self, count: int, fraction: float | None, *, rate: float | None = None, note: str = ""
    ) -> None:
        """`count`: units done. `fraction`: 0 to 1, None when that is not known. `rate`: units a
        second; measured here when left out."""
        now = time.monotonic()
        if now < self._next_draw:
            return
        self._next_draw = now + self._pause
        self._draw(now, count, fraction, rate, note)

    def finish(self, count: int, *, rate: float | None = None, note: str = "") -> None:
        """Shows the end, with the rate over all; measured here when left out."""
        now = time.monotonic()
        if rate is None:
            rate = count / max(now - self._began, 1e-3)
        self._draw(now, count, 1.0, rate, note)

    def _draw(
        self, now: float, count: int, fraction: float | None, rate: float | None, note: str
    ) -> None:
        if rate is None:
            rate = self._rate(now, count)
        words = [f"{count:,} {self._unit}", f"{rate:,.0f}/s"]
        if fraction is not None:
            words.insert(0, f"{fraction:4.0%}")
            if left := self._time_left(now, fraction):
                words.append(f"{left} left")
        if note:
            words.append(note)
        text = "  ".join(words)
        if self._is_terminal:
            self._redraw(text, fraction)
        else:
            print(f"{self._label}  {text}", file=self._stream, flush=True)

    def _redraw(self, text: str, fraction: float | None) -> None:
        bar = ""
        if fraction is not None:
            filled = round(fraction * _BAR)
            bar = f"{'█' * filled}{'░' * (_BAR - filled)} "
        width = shutil.get_terminal_size().columns - 1
        line = f"{self._label} {bar}{text}"[:width]
        self._stream.write(f"\r{line.ljust(len(self._last))}")
        self._stream.flush()
        self._last = line

    def _rate(self, now: float, count: int) -> float:
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        return (count - before) / (now - then) if now > then else 0.0

    def _time_left(self, now: float, fraction: float) -> str:
        if self._first is None:
            self._first = (now, fraction)
        then, before = self._first
        if fraction >= 1 or fraction <= before:
            return ""
        return duration((now - then) * (1 - fraction) / (fraction - before))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._last:
            print(file=self._stream, flush=True)


def duration(seconds: float) -> str:
    """`1:23:45`, `4:05`, `0:09`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
