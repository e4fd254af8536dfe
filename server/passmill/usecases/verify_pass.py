"""Say what a pass is worth, here and now, and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.scanners import Desk
from passmill.domain.scans import RefusalReason, ScanState
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.judge_passes import JudgedPass, JudgePasses
from passmill.usecases.resolve_scan import ResolveScan, ScanRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found. `reason`: why nothing was. `time`: at which this was so."""

    desk: Desk
    state: ScanState
    reason: RefusalReason | None
    passes: Sequence[JudgedPass]
    time: datetime


class VerifyPass:
    """Verifies passes for scanners and tills."""

    __slots__ = ("_clock", "_find_desk", "_judge_passes", "_resolve_scan")

    def __init__(
        self,
        *,
        find_desk: FindDesk,
        resolve_scan: ResolveScan,
        judge_passes: JudgePasses,
        clock: Clock,
    ) -> None:
        self._find_desk = find_desk
        self._resolve_scan = resolve_scan
        self._judge_passes = judge_passes
        self._clock = clock

    async def __call__(self, caller: Caller, ref: ScanRef, *, venue_id: str) -> Verified:
        """What the pass is worth. AppError NOT_FOUND (venue), INVALID_FIELD, RATE_LIMITED."""
        desk = await self._find_desk(caller, venue_id)
        now = self._clock.now()
        found = await self._resolve_scan.passes(caller, desk, ref)
        if isinstance(found, RefusalReason):
            return Verified(desk=desk, state=ScanState.UNKNOWN, reason=found, passes=(), time=now)
        judged = await self._judge_passes(caller, desk, found, at=now)
        state = judged[0].state if len(judged) == 1 else ScanState.SEVERAL
        return Verified(desk=desk, state=state, reason=None, passes=judged, time=now)
