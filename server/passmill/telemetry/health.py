"""Readiness of one process: asks its parts again and again, tells metrics and whoever listens."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from passmill.telemetry.metrics import Metrics

Ping = Callable[[], Awaitable[object]]


class Readiness:
    """`checks`: a ping for each part, ready when it returns. `on_change` hears the first result and
    every change; it may be used to set gRPC health. Times in seconds."""

    def __init__(
        self,
        *,
        checks: Mapping[str, Ping],
        metrics: Metrics,
        on_change: Callable[[bool], Awaitable[None]],
        interval_seconds: float = 5.0,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._checks = checks
        self._metrics = metrics
        self._on_change = on_change
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._is_ready: bool | None = None
        self._log = structlog.get_logger("passmill.health")

    async def run(self) -> None:
        """Checks until cancelled; the process counts as not ready from then on."""
        try:
            while True:
                await self.check()
                await asyncio.sleep(self._interval_seconds)
        finally:
            self._metrics.process_ready(is_ready=False)

    async def check(self) -> bool:
        """Pings every part once, all at the same time; whether all answered."""
        async with asyncio.TaskGroup() as tasks:
            pings = [tasks.create_task(self._ping(*check)) for check in self._checks.items()]
        is_ready = all(ping.result() for ping in pings)
        self._metrics.process_ready(is_ready=is_ready)
        if is_ready is not self._is_ready:
            self._is_ready = is_ready
            await self._on_change(is_ready)
        return is_ready

    async def _ping(self, name: str, ping: Ping) -> bool:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await ping()
        except Exception as error:  # noqa: BLE001 - whatever a part raises, it is not ready
            self._log.warning("health.check_failed", check=name, error=type(error).__name__)
            is_ready = False
        else:
            is_ready = True
        self._metrics.checked(name, is_ready=is_ready)
        return is_ready
