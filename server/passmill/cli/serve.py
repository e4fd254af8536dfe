"""`passmill serve`."""

from __future__ import annotations

import os
import threading

from passmill.settings import PREFIX, Settings
from passmill.supervisor import Supervisor
from passmill.telemetry.logging import configure_logging

ROLES = ("api", "worker", "all")


def run(settings: Settings, stop: threading.Event, *, role: str) -> int:
    """Serves one of `ROLES` until `stop`; the processes read the same variables as we did."""
    configure_logging(level=settings.log.level, log_format=settings.log.format)
    environment = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    with Supervisor(
        api=settings.api,
        admin=settings.admin,
        exposition=settings.metrics,
        processes=0 if role == "worker" else settings.processes,
        workers=0 if role == "api" else settings.worker.processes or os.cpu_count() or 1,
        drain_seconds=settings.limits.drain_seconds,
        environment=environment,
    ) as supervisor:
        supervisor.run(stop)
    return 0
