"""`passmill serve` and `passmill edge-key`."""

from __future__ import annotations

import base64
import os
import threading

from passmill.domain.keyring import Keyring
from passmill.settings import PREFIX, Settings
from passmill.supervisor import Edges, Supervisor
from passmill.telemetry.logging import configure_logging

ROLES = ("api", "worker", "edge", "all")


def run(settings: Settings, stop: threading.Event, *, role: str) -> int:
    """Serves one of `ROLES` until `stop`; the processes read the same variables as we did, edges
    without the secrets among them."""
    configure_logging(level=settings.log.level, log_format=settings.log.format)
    if role != "edge":
        settings.require_master_key()  # now, not in every process
    environment = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    with Supervisor(
        api=settings.api,
        admin=settings.admin,
        exposition=settings.metrics,
        processes=settings.processes if role in ("api", "all") else 0,
        workers=_count(settings.worker.processes) if role in ("worker", "all") else 0,
        edges=_edges(settings) if role in ("edge", "all") else None,
        drain_seconds=settings.limits.drain_seconds,
        environment=environment,
    ) as supervisor:
        supervisor.run(stop)
    return 0


def edge_key(settings: Settings) -> str:
    """PASSMILL_EDGE_KEY as it is given to edges: Base64, derived from the master key where that is,
    else the one that was set."""
    given = settings.edge_key_bytes
    if settings.master_key is not None or given is None:
        given = Keyring(settings.master_key_bytes).edge_key
    return base64.b64encode(given).decode("ascii")


def _edges(settings: Settings) -> Edges:
    return Edges(
        door=settings.edge,
        processes=_count(settings.edge.processes),
        key=edge_key(settings),
    )


def _count(processes: int | None) -> int:
    return processes or os.cpu_count() or 1
