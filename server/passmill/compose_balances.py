"""What API processes serve, and workers do, about points, stamps and stored money, wired."""

from __future__ import annotations

from typing import Final

import structlog

from passmill.compose_frame import Frame
from passmill.jobs.worker import Worker
from passmill.rpc import balance_service
from passmill.rpc.desks import Desks
from passmill.store.balance_jobs import BalancesPayload
from passmill.store.jobs import JobKind, open_job_queue
from passmill.telemetry.balance_metrics import BalanceMetrics
from passmill.usecases.capture_hold import CaptureHold, ReleaseHold
from passmill.usecases.edit_pass import EditPass
from passmill.usecases.expire_balances import ExpireBalances
from passmill.usecases.find_pass import FindPass
from passmill.usecases.hold_balance import HoldBalance
from passmill.usecases.join_account import JoinAccount
from passmill.usecases.lower_tiers import LowerTiers
from passmill.usecases.pay_sale import PaySale
from passmill.usecases.post_entries import PostEntries
from passmill.usecases.post_entry import PostEntry
from passmill.usecases.read_balance import ReadBalance
from passmill.usecases.reverse_entry import ReverseEntry
from passmill.usecases.set_balance_unit import SetBalanceUnit
from passmill.usecases.set_tiers import SetTiers
from passmill.usecases.show_balances import ShowBalances

_AT_ONCE: Final = 2  # a job signs up to a hundred passes


def balance_servicer(
    frame: Frame, *, find_pass: FindPass, edit_pass: EditPass, desks: Desks
) -> balance_service.BalanceServicer:
    """BalanceService on a frame."""
    database, mutator, clock = frame.database, frame.mutator, frame.clock
    return balance_service.BalanceServicer(
        use_cases=balance_service.BalanceUseCases(
            set_balance_unit=SetBalanceUnit(mutator=mutator, clock=clock),
            set_tiers=SetTiers(mutator=mutator, clock=clock),
            post_entry=PostEntry(edit_pass=edit_pass, clock=clock),
            post_entries=PostEntries(database=database, find_pass=find_pass, clock=clock),
            reverse_entry=ReverseEntry(database=database, edit_pass=edit_pass, clock=clock),
            hold_balance=HoldBalance(edit_pass=edit_pass, clock=clock),
            capture_hold=CaptureHold(database=database, edit_pass=edit_pass, clock=clock),
            release_hold=ReleaseHold(database=database, mutator=mutator, clock=clock),
            pay_sale=PaySale(edit_pass=edit_pass, clock=clock),
            read_balance=ReadBalance(database=database, find_pass=find_pass, clock=clock),
            join_account=JoinAccount(mutator=mutator, find_pass=find_pass, clock=clock),
        ),
        desks=desks,
        database=database,
        pages=frame.pages,
    )


def show_balances(frame: Frame) -> ShowBalances:
    """The worker's use case on a frame."""
    rendering = frame.rendering
    return ShowBalances(
        database=frame.database,
        load_revision=frame.load_revision,
        identities=frame.identities,
        contents=rendering.contents,
        finish_signing=rendering.finish_signing,
        clock=frame.clock,
        metrics=frame.metrics,
    )


def expire_balances(frame: Frame, metrics: BalanceMetrics) -> ExpireBalances:
    """The worker's upkeep on a frame."""
    return ExpireBalances(
        database=frame.database,
        clock=frame.clock,
        metrics=metrics,
        every_seconds=frame.settings.worker.settle_balances_seconds,
    )


def lower_tiers(frame: Frame, metrics: BalanceMetrics) -> LowerTiers:
    """The worker's upkeep on a frame."""
    return LowerTiers(
        database=frame.database,
        clock=frame.clock,
        metrics=metrics,
        every_seconds=frame.settings.worker.settle_balances_seconds,
    )


def balance_worker(frame: Frame, show: ShowBalances) -> Worker[BalancesPayload]:
    """Shows balances apart from all other jobs, so that none waits behind a campaign's shards."""
    log = structlog.get_logger("passmill.balances")

    async def serve(payload: BalancesPayload) -> None:
        await show(payload.tenant_id, payload.account_ids)

    async def give_up(payload: BalancesPayload) -> bool:
        # Their next entry shows them.
        log.error("balances.given_up", **payload.log_fields())
        return True

    return Worker(
        open_queue=lambda: open_job_queue(frame.settings.database_url.get_secret_value()),
        decode=BalancesPayload.decode,
        handlers={JobKind.SHOW_BALANCES: serve},
        give_up=give_up,
        metrics=frame.campaign_metrics,
        concurrent_jobs=_AT_ONCE,
        heartbeat_seconds=frame.settings.worker.heartbeat_seconds,
    )
