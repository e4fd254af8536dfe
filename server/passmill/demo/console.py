"""What the demonstration says while it works: steps, facts, a progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")

_BAR_CELLS = 28
_REDRAW_SECONDS = 0.1
_ESTIMATE_SECONDS = 1.0  # before that, a guess at the rest is far off
_LINES = 10  # that a progress bar becomes where nothing can be redrawn


class DemoFailed(Exception):
    """The demonstration cannot go on; the message says why and what to do."""


class Console:
    """Writes to a terminal, or in plain lines to anything else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()

    def title(self, text: str) -> None:
        """Says what begins."""
        self._line(f"\n{self._marked(text)}")

    def step(self, text: str) -> None:
        """Says what is being done."""
        self._line(f"  {text}")

    def facts(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Says what was found, name by name."""
        listed = list(pairs)
        width = max(len(name) for name, _ in listed)
        for name, value in listed:
            self._line(f"  {name:<{width}}  {value}")

    def progress(self, items: Iterable[Item], *, total: int, verb: str) -> Iterator[Item]:
        """Passes items on and shows how many there were, how fast, and how long the rest takes."""
        started = shown = time.monotonic()
        every = max(1, total // _LINES)
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if self._is_terminal:
                if now - shown >= _REDRAW_SECONDS or done == total:
                    shown = now
                    self._redraw(_progress(verb, done, total, now - started))
            elif done % every == 0 or done == total:
                self._line(f"  {_progress(verb, done, total, now - started)}")
        if self._is_terminal:
            self._out.write("\n")

    def _redraw(self, text: str) -> None:
        self._out.write(f"\r\033[K  {text}")
        self._out.flush()

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def _marked(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self._is_terminal else text


def _progress(verb: str, done: int, total: int, seconds: float) -> str:
    share = done / total
    full = round(share * _BAR_CELLS)
    bar = "#" * full + "." * (_BAR_CELLS - full)
    rate = done / max(seconds, 1e-9)
    if done == total:
        rest = f"{seconds:.1f} s"
    elif seconds < _ESTIMATE_SECONDS:
        rest = ""
    else:
        rest = f"{(total - done) / rate:.0f} s left"
    return f"{verb} {done:>{len(f'{total:,}')},} of {total:,}  [{bar}] {rate:>6,.0f}/s  {rest}"
