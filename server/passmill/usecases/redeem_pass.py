"""Redeem an offer for a pass, as often as it may be used and not once more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.offers import Offer, OfferId
from passmill.domain.scanners import Desk, ScannerRight
from passmill.domain.scans import RefusalReason, ScanState
from passmill.errors import AppError, Reason, invalid_field, not_found
from passmill.store.database import Database, Transaction
from passmill.store.offers import get_offer
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.program_counters import ProgramCounters
from passmill.usecases.resolve_scan import ResolveScan, ScanRef
from passmill.usecases.step_looks import LookUnfit, RevisionWanted, edit_into
from passmill.usecases.use_offer import (
    PassMoved,
    UseRefused,
    UseResult,
    WantedUse,
    refuse_use,
    use_offer,
)

CLOCK_LEEWAY: Final = timedelta(minutes=5)
"""So far ahead the clocks of scanners may be; and what is told later than this after it was scanned
counts as an offline scan."""
TOLD_AT_ONCE: Final = timedelta(days=1)
"""So long ago a scan may be that is told by itself: a till tries again what it had no answer to."""
TOLD_LATER: Final = timedelta(days=30)
"""So long ago an offline scan may be. What has expired could be used by whoever dates it back."""

_CHANGE: Final = "redeemed"  # as metrics count it
_TRIES: Final = 6


# What else is written in the transaction that keeps the answer.
Also: TypeAlias = Callable[[Transaction, UseResult], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRedemption:
    """What was asked for. `scan_time`: None for now."""

    ref: ScanRef
    offer_id: str
    venue_id: str
    staff: str
    scan_time: datetime | None
    is_offline: bool = False


class RedeemPass:
    """Redeems offers."""

    __slots__ = (
        "_clock",
        "_counters",
        "_database",
        "_edit_pass",
        "_find_desk",
        "_mutator",
        "_resolve_scan",
    )

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        edit_pass: EditPass,
        find_desk: FindDesk,
        resolve_scan: ResolveScan,
        counters: ProgramCounters,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._edit_pass = edit_pass
        self._find_desk = find_desk
        self._resolve_scan = resolve_scan
        self._counters = counters
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[UseResult],
        wanted: WantedRedemption,
        *,
        also: Also | None = None,
    ) -> Answer:
        """The answer says what became of it: a refusal is an ordinary one.

        AppError NOT_FOUND (offer, venue), INVALID_FIELD, RATE_LIMITED, REQUEST_ID_REUSED.
        """
        try:
            desk, offer = await self._prepare(mutation.caller, wanted)
            named = await self._resolve_scan.name(mutation.caller, desk, wanted.ref)
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise
        if not desk.may(ScannerRight.REDEEM):
            named = RefusalReason.RIGHT_MISSING
        if isinstance(named, RefusalReason):
            return await self._keep(mutation, _no_pass(named, offer), also)
        now = self._clock.now()
        use = WantedUse(
            offer=offer,
            desk=desk,
            counter=await self._counters.of(mutation.caller, offer.program_id),
            staff=wanted.staff,
            scan_time=min(wanted.scan_time or now, now),
            now=now,
            is_offline=wanted.is_offline or is_late(wanted.scan_time, now=now),
        )
        try:
            return await self._use(mutation, named, use, also)
        except AppError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        unknown = _no_pass(RefusalReason.UNKNOWN_CODE, offer)
        return await self._keep(mutation, unknown, also)

    async def _use(
        self, mutation: Mutation[UseResult], ref: PassRef, use: WantedUse, also: Also | None
    ) -> Answer:
        refusal: RefusalReason | None = None
        revision: int | None = None

        async def work(tx: Transaction, in_hand: PassInHand) -> UseResult:
            if refusal is None:
                result = await use_offer(tx, in_hand, use)
            else:
                result = await refuse_use(tx, in_hand, use, refusal)
            if also is not None:
                await also(tx, result)
            return result

        for _ in range(_TRIES):
            try:
                return await edit_into(
                    self._edit_pass, mutation, ref, work, revision=revision, kind=_CHANGE
                )
            except UseRefused as refused:
                refusal, revision = refused.reason, None
            except PassMoved:
                use, revision = await self._again(mutation.caller, use), None
            except RevisionWanted as wanted:
                revision = wanted.number
            except LookUnfit:
                use, revision = replace(use, keeps_revision=True), None
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="The pass is changed all the time. Retry with the same request_id.",
            retry_after=timedelta(milliseconds=500),
        )

    async def _again(self, caller: Caller, use: WantedUse) -> WantedUse:
        async with self._database.statement(caller) as tx:
            return replace(use, offer=await get_offer(tx, use.offer.offer_id))

    async def _prepare(self, caller: Caller, wanted: WantedRedemption) -> tuple[Desk, Offer]:
        desk = await self._find_desk(caller, wanted.venue_id)
        offer_id = parse_uuid(wanted.offer_id)
        if offer_id is None:
            raise not_found("offer")
        async with self._database.statement(caller) as tx:
            offer = await get_offer(tx, OfferId(offer_id))
        require_scan_time(wanted.scan_time, now=self._clock.now(), is_offline=wanted.is_offline)
        return desk, offer

    async def _keep(
        self, mutation: Mutation[UseResult], result: UseResult, also: Also | None
    ) -> Answer:
        async def work(tx: Transaction) -> UseResult:
            if also is not None:
                await also(tx, result)
            return result

        return await self._mutator.run(mutation, work)


def require_scan_time(scan_time: datetime | None, *, now: datetime, is_offline: bool) -> None:
    """AppError INVALID_FIELD for a time that has not come, or was too long ago. What happened
    offline has happened: where the clock was ahead, it counts as done now."""
    if scan_time is None:
        return
    if scan_time > now + CLOCK_LEEWAY and not is_offline:
        raise invalid_field("scan_time", "is in the future; set the clock of this device")
    if scan_time < now - (TOLD_LATER if is_offline else TOLD_AT_ONCE):
        days, way = (
            (TOLD_LATER, "") if is_offline else (TOLD_AT_ONCE, ", or tell it as offline scan")
        )
        message = f"is more than {days.days} days ago; set the clock of this device{way}"
        raise invalid_field("scan_time", message)


def is_late(scan_time: datetime | None, *, now: datetime) -> bool:
    """Whether a scan is told so late that its time is all there is to go by."""
    return scan_time is not None and scan_time < now - CLOCK_LEEWAY


def _no_pass(reason: RefusalReason, offer: Offer) -> UseResult:
    return UseResult(
        reason=reason,
        pass_id="",
        state=ScanState.UNKNOWN,
        redemption=None,
        first_use=None,
        uses=0,
        max_uses=offer.max_uses,
        balance=None,
    )
