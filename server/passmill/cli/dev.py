"""`passmill dev`."""

from __future__ import annotations

import threading
from pathlib import Path

from passmill.dev.local_service import LocalService
from passmill.telemetry.logging import configure_logging


def run(data_dir: Path, stop: threading.Event) -> int:
    """Runs everything until `stop`, with its data kept in `data_dir`."""
    configure_logging(log_format="console")
    with LocalService(
        data_dir=data_dir, on_step=_say, settings={"PASSMILL_LOG__LEVEL": "info"}
    ) as service:
        _say(f"gRPC        {service.api_address}")
        _say(f"admin       {service.admin_address}  (reflection is on)")
        _say(f"metrics     {service.metrics_url}")
        _say(f"operator    authorization: Bearer {service.operator_key}")
        _say(f"data        {data_dir}")
        _say("Ctrl-C ends it.")
        service.supervisor.run(stop)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
