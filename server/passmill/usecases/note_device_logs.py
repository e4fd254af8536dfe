"""Count what devices report of their troubles, and log a few of the reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from passmill.domain.device_logs import DeviceLog, parse_device_log
from passmill.telemetry.edge_metrics import EdgeMetrics
from passmill.telemetry.sampling import Sampler


class NoteDeviceLogs:
    """Counts lines by kind. Anybody may send them, so they are believed in nothing, never stored,
    and `sampler` says which report gets into the log."""

    __slots__ = ("_log", "_metrics", "_sampler")

    def __init__(self, *, metrics: EdgeMetrics, sampler: Sampler) -> None:
        self._metrics = metrics
        self._sampler = sampler
        self._log = structlog.get_logger("passmill.device")

    def __call__(self, lines: Sequence[str], *, system_version: str) -> None:
        """Notes one report. `lines`: as the device sent them, cut to a sane length."""
        parsed = [parse_device_log(line) for line in lines]
        for kind, count in Counter(each.kind for each in parsed).items():
            self._metrics.device_logs(kind.value, count)
        for first in parsed[:1]:
            self._show(first, lines=len(lines), system_version=system_version)

    def _show(self, first: DeviceLog, *, lines: int, system_version: str) -> None:
        left_out = self._sampler.take()
        if left_out is None:
            return
        self._log.warning(
            "device.reported",
            kind=first.kind.value,
            pass_type_identifier=first.pass_type_identifier,
            error=first.error,
            lines=lines,
            system_version=system_version,
            reports_left_out=left_out,
        )
