"""What the stand-in does with which push: values only, so that a script can be printed, compared
and sent to another process. Without a rule that fits, a push is accepted.

Sources of statuses and reasons: Apple, "Handling notification responses from APNs"; of faults: what
clients of the real service were seen to stumble over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import Final

USUAL_STREAMS: Final = 1000
"""MAX_CONCURRENT_STREAMS that Apple's servers were seen to announce."""
USUAL_WINDOW: Final = 65_535


class Body(Enum):
    """What stands in an error's body."""

    JSON = "json"
    """`{"reason": …}`, with `timestamp` (ms) where there is one."""
    NONE = "none"
    HTML = "html"
    """An error page, as a proxy on the way makes it."""
    TRUNCATED = "truncated"
    """The first half of the JSON, and the end of the stream."""
    LONG = "long"
    """The JSON with a reason of 64 KiB."""
    UNFINISHED = "unfinished"
    """The JSON, but the stream never ends."""


class Headers(Enum):
    """How the headers of an answer look."""

    USUAL = "usual"
    ODD = "odd"
    """Lawful and unusual: another order, one twice, unknown ones, apns-id in small letters."""
    UPPER_CASE = "upper-case"
    """`Apns-Id`: malformed (RFC 9113, section 8.2.1)."""


class LastStream(Enum):
    """Which streams a GOAWAY says were or will be processed."""

    THIS = "this"
    """The push's own and all before it; they are answered. Later ones are not looked at."""
    BEFORE = "before"
    """All before the push; it and later ones are not looked at."""
    NONE = "none"
    """No stream at all (0), though earlier ones may have been answered."""
    ANY = "any"
    """2^31-1, the notice of a graceful end: all that come are answered until the end."""


class ResetCode(IntEnum):
    """Error codes of RST_STREAM (RFC 9113, section 7)."""

    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    STREAM_CLOSED = 5
    REFUSED_STREAM = 7
    CANCEL = 8
    ENHANCE_YOUR_CALM = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """200. `is_lost`: the device does not hear of it, as phones lose pushes."""

    is_lost: bool = False
    headers: Headers = Headers.USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """An error. `timestamp`: aware; since when the token is not valid (410).
    `retry_after`: seconds or an HTTP date, as written."""

    status: int
    reason: str = ""
    timestamp: datetime | None = None
    retry_after: str = ""
    body: Body = Body.JSON
    headers: Headers = Headers.USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """No answer on this stream, ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """RST_STREAM. `delivers`: the push was accepted nevertheless, and the answer is what is lost
    (never so with REFUSED_STREAM, which says that nothing was done)."""

    code: ResetCode = ResetCode.INTERNAL_ERROR
    delivers: bool = False

    def __post_init__(self) -> None:
        """Refuse what no server may do."""
        if self.delivers and self.code is ResetCode.REFUSED_STREAM:
            raise ValueError("REFUSED_STREAM says that the push was not processed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """The TCP connection ends in the middle of the stream. `abort`: at once by RST, instead of TLS'
    own farewell. `delivers`: as for `Reset`."""

    abort: bool = True
    delivers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """The connection stays open, but nothing is read or written any more, not even a PING's
    answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAway:
    """GOAWAY, and the end of the connection `linger_seconds` later. `reason`: in the debug data as
    JSON, empty for none."""

    last_stream: LastStream = LastStream.THIS
    reason: str = "Shutdown"
    error_code: int = 0
    linger_seconds: float = 0.05


Answer = Accept | Refuse | Hang | Reset | Disconnect | Freeze | GoAway
ACCEPT: Final = Accept()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """HTTP/2 settings. `initial_window`: of a stream, in bytes; 1 makes a client send `{}` in two
    frames."""

    max_concurrent_streams: int = USUAL_STREAMS
    initial_window: int = USUAL_WINDOW


USUAL_LIMITS: Final = StreamLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsChange:
    """New settings on a connection in use. `for_seconds`: then those before it again."""

    limits: StreamLimits
    for_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to do with the pushes that all given conditions fit. Numbers count from 1.

    `tokens`; `token_pushes`: the how many-th of its token; `connections`; `connection_pushes`: the
    how many-th of its connection; `server_pushes`: of all; `every`: each n-th of all;
    `fraction`: of those that fit so far, by the script's own randomness; `times`: at most so many.
    `delay_seconds`: before the answer. `change`: settings announced before it.
    """

    answer: Answer = ACCEPT
    tokens: frozenset[str] | None = None
    token_pushes: frozenset[int] | None = None
    connections: frozenset[int] | None = None
    connection_pushes: frozenset[int] | None = None
    server_pushes: frozenset[int] | None = None
    every: int = 1
    fraction: float = 1.0
    times: int | None = None
    delay_seconds: float = 0.0
    change: LimitsChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The rules, of which the first that fits counts. The same `seed` and the same order of pushes
    give the same answers. `limits`: of new connections."""

    rules: tuple[Rule, ...] = ()
    seed: int = 0
    limits: StreamLimits = USUAL_LIMITS
