"""Ends connections that take a place and do nothing with it.

The server itself times the head of an HTTP/1.1 request and the TLS handshake; a client that is
silent after the handshake, keeps an HTTP/2 connection for nothing or reads its answer a byte a
second would stay for ever. The kernel knows how much each connection has moved (tcp(7), TCP_INFO),
so once in a while we ask it for those of this port.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from passmill.telemetry.edge_metrics import EdgeMetrics

# In linux/tcp.h, struct tcp_info: tcpi_bytes_acked, tcpi_bytes_received; then tcpi_notsent_bytes.
_MOVED: Final = struct.Struct("<QQ")
_MOVED_AT: Final = 120
_NOT_SENT: Final = struct.Struct("<I")
_NOT_SENT_AT: Final = 144
_INFO_BYTES: Final = 148

_ROUNDS_A_PERIOD: Final = 6
_MAX_PAUSE_SECONDS: Final = 5.0
# Less than any request takes, headers and frames counted.
_SIGN_OF_LIFE_BYTES: Final = 64
# What a bundle may come down to on a poor network; slower is somebody who only holds our memory.
_LEAST_BYTES_A_SECOND: Final = 256
# From so much of the places on, they become free sooner.
_CROWDED: Final = 0.75
_CROWDED_SHARE: Final = 0.1
_OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE)


@dataclass(slots=True)
class _Watched:
    """A connection, and when it last moved enough."""

    moved_bytes: int
    since: float


class ConnectionWatch:
    """Watches the connections of one process. Linux alone; elsewhere it does nothing, as only
    development happens there."""

    def __init__(
        self,
        *,
        port: int,
        idle_seconds: float,
        max_connections: int,
        metrics: EdgeMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`idle_seconds`: how long a connection may stay without a sign of life; it is cut within a
        third more. `port`: the one served."""
        self._port = port
        self._idle_seconds = idle_seconds
        self._max_connections = max_connections
        self._metrics = metrics
        self._monotonic = monotonic
        self._watched: dict[tuple[int, int], _Watched] = {}
        self._log = structlog.get_logger("passmill.edge")

    async def run_forever(self) -> None:
        """Looks at all connections again and again. Ends by cancellation."""
        pause = min(self._idle_seconds / _ROUNDS_A_PERIOD, _MAX_PAUSE_SECONDS)
        while True:
            await asyncio.sleep(pause)
            await self.try_to_look()

    async def try_to_look(self, *, idle_seconds: float | None = None) -> None:
        """Looks as `look` does; logs it when that fails, and the next time may do better."""
        try:
            # Some microseconds a connection: too long for the loop when there are thousands.
            await asyncio.to_thread(self.look, idle_seconds=idle_seconds)
        except OSError as error:
            # Of files there may be none for a trace either.
            self._log.warning("edge.not_watched", problem=error.strerror)
        except Exception:  # noqa: BLE001 - a fault here must not take the process down
            self._log.exception("edge.not_watched")

    def look(self, *, idle_seconds: float | None = None) -> int:
        """Cuts what is idle or too slow by now; gives how many connections there are.
        `idle_seconds`: None for the usual time, less where places are few.

        Raises OSError when no more files can be opened; what was seen before is kept.
        """
        if sys.platform != "linux":
            return 0
        if idle_seconds is None:
            idle_seconds = self._usual_idle_seconds()
        seen: dict[tuple[int, int], _Watched] = {}
        with os.scandir("/proc/self/fd") as entries:
            numbers = [int(entry.name) for entry in entries]
        for number in numbers:
            # A number may mean another file by now: its copy is what is looked at, and cut.
            try:
                with _copy(number) as connection:
                    if self._is_ours(connection):
                        self._look_at(connection, number, idle_seconds, seen)
            except OSError as error:  # no socket, the one that listens, or one that is closing
                if error.errno in _OUT_OF_FILES:
                    raise
        self._watched = seen
        self._metrics.connections(len(seen))
        return len(seen)

    def _usual_idle_seconds(self) -> float:
        is_crowded = len(self._watched) > _CROWDED * self._max_connections
        return self._idle_seconds * (_CROWDED_SHARE if is_crowded else 1)

    def _is_ours(self, connection: socket.socket) -> bool:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        if connection.type != socket.SOCK_STREAM or connection.getsockname()[1] != self._port:
            return False
        connection.getpeername()  # OSError: the socket that listens, or one that is closing
        return True

    def _look_at(
        self,
        connection: socket.socket,
        number: int,
        idle_seconds: float,
        seen: dict[tuple[int, int], _Watched],
    ) -> None:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        if len(info) < _INFO_BYTES:
            return  # a kernel before 4.6
        moved_bytes = sum(_MOVED.unpack_from(info, _MOVED_AT))
        [not_sent] = _NOT_SENT.unpack_from(info, _NOT_SENT_AT)
        now = self._monotonic()
        key = (number, os.fstat(connection.fileno()).st_ino)
        watched = self._watched.get(key) or _Watched(moved_bytes, now)
        seen[key] = watched
        enough = _SIGN_OF_LIFE_BYTES
        if not_sent:
            enough = max(enough, int(_LEAST_BYTES_A_SECOND * (now - watched.since)))
        if moved_bytes - watched.moved_bytes >= enough:
            watched.moved_bytes, watched.since = moved_bytes, now
        elif now - watched.since > idle_seconds:
            self._cut(connection, "slow" if not_sent else "idle")
            del seen[key]

    def _cut(self, connection: socket.socket, cause: str) -> None:
        self._metrics.cut(cause)
        connection.shutdown(socket.SHUT_RDWR)
        self._log.debug("edge.connection_cut", cause=cause)


def _copy(number: int) -> socket.socket:
    """A socket of its own for the same connection. OSError when the number is no socket's."""
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
