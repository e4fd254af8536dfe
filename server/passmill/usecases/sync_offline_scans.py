"""Take in what a scanner did while it was offline, each scan at most once, with its own time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, parse_uuid
from passmill.domain.offers import OfferId
from passmill.domain.offline_scans import (
    OfflineAction,
    OfflineOutcome,
    OfflineRecord,
    OfflineResult,
    outcome_of,
    scan_request_id,
)
from passmill.domain.redemptions import Redemption
from passmill.domain.scanners import Desk
from passmill.domain.scans import RefusalReason
from passmill.errors import AppError, Reason
from passmill.store.database import Database, Transaction
from passmill.store.offline_scans import find_scans, insert_scan
from passmill.store.outbox import insert_event
from passmill.store.redemptions import first_uses, get_redemption
from passmill.usecases.check_pass import CheckPass, CheckResult, WantedCheck
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.mutation import Mutation, Mutator
from passmill.usecases.redeem_pass import RedeemPass, WantedRedemption
from passmill.usecases.resolve_scan import ResolveScan, ScanRef
from passmill.usecases.use_offer import UseResult

_METHOD = "ScanService/SyncOfflineScans"
# What a scan cannot be done for, whenever it is sent again: said of it alone.
_OF_THE_SCAN = {Reason.NOT_FOUND, Reason.INVALID_FIELD}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineScan:
    """A scan as it was told. `offer_id`: of a redemption; `refusal`: of a refused pass.
    `fingerprint`: tells its content from another's."""

    local_sequence: int
    fingerprint: bytes = field(repr=False)
    ref: ScanRef
    action: OfflineAction
    scan_time: datetime
    staff: str
    offer_id: str = ""
    refusal: RefusalReason | None = None


class SyncOfflineScans:
    """Takes offline scans in, one after the other: a redemption may depend on the one before."""

    __slots__ = (
        "_check_pass",
        "_clock",
        "_database",
        "_find_desk",
        "_mutator",
        "_redeem_pass",
        "_resolve_scan",
    )

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        find_desk: FindDesk,
        resolve_scan: ResolveScan,
        redeem_pass: RedeemPass,
        check_pass: CheckPass,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._find_desk = find_desk
        self._resolve_scan = resolve_scan
        self._redeem_pass = redeem_pass
        self._check_pass = check_pass
        self._clock = clock

    async def __call__(
        self, caller: Caller, scans: Sequence[OfflineScan], *, venue_id: str
    ) -> list[OfflineResult]:
        """What became of each scan, in their order. Those done before a failure stay done, and are
        duplicates when they are sent again.

        AppError NOT_FOUND (venue), INVALID_FIELD, RATE_LIMITED, UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        desk = await self._find_desk(caller, venue_id)
        async with self._database.statement(caller) as tx:
            known = await find_scans(tx, desk.origin, [each.local_sequence for each in scans])
        results = []
        for scan in scans:
            run = _Run(scan, caller, desk, venue_id, clock=self._clock)
            if (before := known.get(scan.local_sequence)) is not None:
                results.append(await self._duplicate(run, before))
                continue
            results.append(await self._take_in(run))
        return results

    async def _take_in(self, run: _Run) -> OfflineResult:
        try:
            is_new = await self._do(run)
        except AppError as error:
            if error.reason is Reason.REQUEST_ID_REUSED:
                return run.reused()
            if error.reason not in _OF_THE_SCAN:
                raise
            is_new = await self._only_keep(run, RefusalReason.INVALID_SCAN)
        if is_new and run.result is not None:
            return run.result
        # The same scan was told a moment ago, in another call or earlier in this one.
        async with self._database.statement(run.caller) as tx:
            found = await find_scans(tx, run.desk.origin, [run.scan.local_sequence])
        return await self._duplicate(run, found[run.scan.local_sequence])

    async def _do(self, run: _Run) -> bool:
        scan = run.scan
        match scan.action:
            case OfflineAction.REDEEM:
                answer = await self._redeem_pass(
                    run.mutation(),
                    WantedRedemption(
                        ref=scan.ref,
                        offer_id=scan.offer_id,
                        venue_id=run.venue_id,
                        staff=scan.staff,
                        scan_time=scan.scan_time,
                        is_offline=True,
                    ),
                    also=run.keep_use,
                )
            case OfflineAction.CHECK_IN | OfflineAction.CHECK_OUT:
                answer = await self._check_pass(
                    run.mutation(),
                    WantedCheck(
                        ref=scan.ref,
                        is_out=scan.action is OfflineAction.CHECK_OUT,
                        venue_id=run.venue_id,
                        staff=scan.staff,
                        scan_time=scan.scan_time,
                        is_offline=True,
                    ),
                    also=run.keep_check,
                )
            case OfflineAction.REFUSE:
                return await self._only_keep(run, None)
        return not answer.is_replayed

    async def _only_keep(self, run: _Run, refusal: RefusalReason | None) -> bool:
        named = await self._resolve_scan.name(run.caller, run.desk, run.scan.ref)
        parsed = None if isinstance(named, RefusalReason) else parse_uuid(named.pass_id or "")

        async def work(tx: Transaction) -> None:
            await run.keep(tx, refusal=refusal, pass_id=str(parsed or ""))

        return not (await self._mutator.run(run.mutation(), work)).is_replayed

    async def _duplicate(self, run: _Run, before: OfflineRecord) -> OfflineResult:
        if before.fingerprint != run.scan.fingerprint:
            return run.reused()
        redemption = first_use = None
        async with self._database.transaction(run.caller, read_only=True) as tx:
            if before.redemption_id is not None:
                redemption = await get_redemption(tx, before.redemption_id)
            elif (
                before.pass_id is not None
                and before.offer_id is not None
                and before.reason is not RefusalReason.NOT_YOUR_STEP  # whose it was is not told
            ):
                wanted = before.pass_id, before.offer_id
                first_use = (await first_uses(tx, [wanted], partner=run.desk.partner)).get(wanted)
        return OfflineResult(
            local_sequence=before.local_sequence,
            outcome=OfflineOutcome.DUPLICATE,
            first_outcome=before.outcome,
            reason=before.reason,
            pass_id=before.pass_id,
            redemption=redemption,
            first_use=first_use,
        )


class _Run:
    """One scan being taken in: what is kept of it in the transaction that decides."""

    def __init__(
        self, scan: OfflineScan, caller: Caller, desk: Desk, venue_id: str, *, clock: Clock
    ) -> None:
        self.scan = scan
        self.caller = caller
        self.desk = desk
        self.venue_id = venue_id
        self.result: OfflineResult | None = None
        self._clock = clock

    def mutation(self) -> Mutation[Any]:
        """The scan as a change that is made once. What is answered is read from what is kept, which
        lasts longer than answers."""
        encode: Callable[[object], bytes] = lambda _: b""  # noqa: E731
        return Mutation(
            caller=self.caller,
            method=_METHOD,
            request_id=scan_request_id(
                self.caller.tenant_id, self.desk.origin, self.scan.local_sequence
            ),
            fingerprint=self.scan.fingerprint,
            validate_only=False,
            encode=encode,
        )

    def reused(self) -> OfflineResult:
        """Another scan had this number."""
        return OfflineResult(
            local_sequence=self.scan.local_sequence,
            outcome=OfflineOutcome.REFUSED,
            reason=RefusalReason.SEQUENCE_REUSED,
        )

    async def keep_use(self, tx: Transaction, result: UseResult) -> None:
        """Keeps a redemption, or why there was none."""
        await self.keep(
            tx,
            refusal=result.reason,
            pass_id=result.pass_id,
            redemption=result.redemption,
            first_use=None if result.reason is None else result.first_use,
            tells_first_use=result.tells_first_use,
        )

    async def keep_check(self, tx: Transaction, result: CheckResult) -> None:
        """Keeps that a pass came or went, or why it did not."""
        await self.keep(tx, refusal=result.reason, pass_id=result.pass_id)

    async def keep(
        self,
        tx: Transaction,
        *,
        refusal: RefusalReason | None,
        pass_id: str,
        redemption: Redemption | None = None,
        first_use: Redemption | None = None,
        tells_first_use: bool = True,
    ) -> None:
        """Keeps the scan, and tells the operator of a conflict. `tells_first_use`: the scanner,
        too."""
        scan, now = self.scan, self._clock.now()
        parsed = parse_uuid(pass_id)
        offer_id = parse_uuid(scan.offer_id)
        self.result = OfflineResult(
            local_sequence=scan.local_sequence,
            outcome=outcome_of(refusal),
            reason=refusal,
            pass_id=None if parsed is None else PassId(parsed),
            redemption=redemption,
            first_use=first_use if tells_first_use else None,
        )
        record = OfflineRecord(
            origin=self.desk.origin,
            local_sequence=scan.local_sequence,
            fingerprint=scan.fingerprint,
            action=scan.action,
            outcome=self.result.outcome,
            reason=refusal or scan.refusal,
            pass_id=self.result.pass_id,
            offer_id=None if offer_id is None else OfferId(offer_id),
            redemption_id=None if redemption is None else redemption.redemption_id,
            staff=scan.staff,
            scan_time=scan.scan_time,
        )
        is_conflict = record.outcome is OfflineOutcome.CONFLICT
        is_of_use = is_conflict and refusal is not RefusalReason.INSUFFICIENT_BALANCE
        await insert_scan(
            tx,
            record,
            venue_id=self.desk.venue_id,
            conflicting_use_id=first_use.redemption_id if is_of_use and first_use else None,
            now=now,
        )
        if is_conflict:
            await self._tell(tx, record, now=now)

    async def _tell(self, tx: Transaction, record: OfflineRecord, *, now: datetime) -> None:
        detail = {"reason": str(record.reason)}
        if record.offer_id is not None:
            detail["offer_id"] = str(record.offer_id)
        if self.desk.venue_id is not None:
            detail["venue_id"] = str(self.desk.venue_id)
        if self.desk.scanner_id is not None:
            detail["scanner_id"] = str(self.desk.scanner_id)
        await insert_event(
            tx,
            kind="scan.conflict",
            pass_ids=[] if record.pass_id is None else [record.pass_id],
            detail=json.dumps(detail, separators=(",", ":")),
            now=now,
        )
