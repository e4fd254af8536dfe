"""Check passes in and out of venues."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import new_uuid
from passmill.domain.redemptions import CheckIn, CheckInId
from passmill.domain.scanners import Desk, ScannerRight
from passmill.domain.scans import RefusalReason, ScanState
from passmill.domain.venues import VenueId
from passmill.errors import AppError, invalid_field
from passmill.store import check_ins
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.judge_passes import JudgedPass, JudgePasses
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.redeem_pass import CLOCK_LEEWAY, is_late, require_scan_time
from passmill.usecases.resolve_scan import ResolveScan, ScanRef

# Who is inside may go out and come in again: a ticket that was redeemed at the gate is used up.
_LET_IN: Final = frozenset({ScanState.VALID, ScanState.USED_UP})


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCheck:
    """What was asked for: in, or out. `scan_time`: None for now."""

    ref: ScanRef
    is_out: bool
    venue_id: str
    staff: str
    scan_time: datetime | None
    is_offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What became of it. `check_in`: the stay begun or ended, or the one that is open already."""

    reason: RefusalReason | None
    pass_id: str
    state: ScanState
    check_in: CheckIn | None


# What else is written in the transaction that keeps the answer.
Also: TypeAlias = Callable[[Transaction, CheckResult], Awaitable[None]]


class CheckPass:
    """Checks passes in and out."""

    __slots__ = ("_clock", "_find_desk", "_judge_passes", "_mutator", "_resolve_scan")

    def __init__(
        self,
        *,
        mutator: Mutator,
        find_desk: FindDesk,
        resolve_scan: ResolveScan,
        judge_passes: JudgePasses,
        clock: Clock,
    ) -> None:
        self._mutator = mutator
        self._find_desk = find_desk
        self._resolve_scan = resolve_scan
        self._judge_passes = judge_passes
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[CheckResult], wanted: WantedCheck, *, also: Also | None = None
    ) -> Answer:
        """The answer says what became of it: a refusal is an ordinary one.

        AppError NOT_FOUND (venue), INVALID_FIELD, RATE_LIMITED, REQUEST_ID_REUSED.
        """
        now = self._clock.now()
        try:
            desk = await self._find_desk(mutation.caller, wanted.venue_id)
            require_scan_time(wanted.scan_time, now=now, is_offline=wanted.is_offline)
            if desk.venue_id is None:
                raise invalid_field("venue_id", "say where: this key is no scanner's")
            found = await self._judge(mutation.caller, desk, wanted, now=now)
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise
        venue_id = desk.venue_id

        async def work(tx: Transaction) -> CheckResult:
            result = await _check(tx, found, desk, venue_id, wanted, now=now)
            if also is not None:
                await also(tx, result)
            return result

        return await self._mutator.run(mutation, work)

    async def _judge(
        self, caller: Caller, desk: Desk, wanted: WantedCheck, *, now: datetime
    ) -> JudgedPass | RefusalReason:
        if not desk.may(ScannerRight.CHECK_IN):
            return RefusalReason.RIGHT_MISSING
        found = await self._resolve_scan.passes(caller, desk, wanted.ref)
        if isinstance(found, RefusalReason):
            return found
        if len(found) > 1:
            return RefusalReason.SEVERAL_PASSES
        [judged] = await self._judge_passes(
            caller, desk, found, at=min(wanted.scan_time or now, now)
        )
        return judged


def _refusal_of(state: ScanState, desk: Desk) -> RefusalReason | None:
    # Whose turn it is in a chain keeps nobody out but at a partner's desk.
    if state in _LET_IN or (state is ScanState.NOT_YOUR_STEP and not desk.partner):
        return None
    return RefusalReason.UNKNOWN_CODE if state is ScanState.UNKNOWN else RefusalReason[state.name]


async def _check(
    tx: Transaction,
    found: JudgedPass | RefusalReason,
    desk: Desk,
    venue_id: VenueId,
    wanted: WantedCheck,
    *,
    now: datetime,
) -> CheckResult:
    if isinstance(found, RefusalReason):
        return CheckResult(reason=found, pass_id="", state=ScanState.UNKNOWN, check_in=None)
    pass_id = found.listed.wallet_pass.pass_id
    scan_time = min(wanted.scan_time or now, now)
    reason: RefusalReason | None = None
    if wanted.is_out:
        # Whatever became of the pass meanwhile: who is inside may leave.
        stay = await check_ins.check_out(
            tx,
            pass_id,
            venue_id,
            scanner_id=desk.scanner_id,
            staff=wanted.staff,
            out_time=scan_time,
            begun_by=scan_time + CLOCK_LEEWAY if wanted.is_offline else None,
        )
        if stay is None:
            reason = RefusalReason.NOT_CHECKED_IN
    elif (refusal := _refusal_of(found.state, desk)) is not None:
        stay, reason = None, refusal
    else:
        stay = CheckIn(
            check_in_id=CheckInId(new_uuid()),
            pass_id=pass_id,
            venue_id=venue_id,
            in_time=scan_time,
            out_time=None,
            is_offline=wanted.is_offline or is_late(wanted.scan_time, now=now),
        )
        if not await check_ins.check_in(
            tx, stay, scanner_id=desk.scanner_id, staff=wanted.staff, now=now
        ):
            reason = RefusalReason.ALREADY_CHECKED_IN
            stay = await check_ins.find_open(tx, pass_id, venue_id)
    if reason is None:
        detail = {"venue_id": str(venue_id)}
        if desk.scanner_id is not None:
            detail["scanner_id"] = str(desk.scanner_id)
        await insert_event(
            tx,
            kind="pass.checked_out" if wanted.is_out else "pass.checked_in",
            pass_ids=[pass_id],
            detail=json.dumps(detail, separators=(",", ":")),
            now=now,
        )
    return CheckResult(reason=reason, pass_id=str(pass_id), state=found.state, check_in=stay)
