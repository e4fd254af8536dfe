"""Exceptions as log text: kinds, messages without quoted values, and where; no local variables.

Drivers and parsers quote what they were given (`invalid input: "Zoë"`), which may be a holder's. So
quoted text is dropped, but for lower-case identifiers such as table names.
"""

import re
import traceback
from collections.abc import Iterator
from types import TracebackType

MAX_FRAMES = 40

_QUOTED = re.compile(r"""(["'])(?![a-z_][a-z0-9_.]*\1)(?:\\.|(?!\1).)*\1""", re.DOTALL)

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def without_quoted_values(text: str) -> str:
    """`text` with `"…"` for each quoted part that is no lower-case identifier."""
    return _QUOTED.sub('"…"', text)


def describe_exception(exc_info: ExceptionInfo) -> str:
    """One line an exception, innermost cause last, each followed by its frames, outermost first."""
    return "\n".join(_lines(exc_info[1], ""))


def _lines(error: BaseException, indent: str) -> Iterator[str]:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    yield f"{indent}{kind}: {without_quoted_values(str(error))}"
    for frame in traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]:
        yield f"{indent}  {frame.filename}:{frame.lineno} in {frame.name}"
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _lines(each, indent + "  | ")
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield f"{indent}caused by"
        yield from _lines(cause, indent)
