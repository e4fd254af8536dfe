"""A club that counts points and stores money, and calls of its BalanceService."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.domain.clock import Clock
from passmill.store.balance_jobs import BalancesPayload
from passmill.v1 import balance_pb2
from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.balance_pb2 import BalanceUnit, EntryDraft, EntryKind, EntryRefusal, Tier
from passmill.v1.template_pb2 import Money
from passmill.v1.wallet_pass_pb2 import Pass, PassRef
from tests.support.service import Club, Service, by_id, meta
from tests.support.small_card import draft

if TYPE_CHECKING:  # exists for type checkers only
    from passmill.v1.balance_service_pb2_grpc import BalanceServiceAsyncStub

EARN, BURN = EntryKind.ENTRY_KIND_EARN, EntryKind.ENTRY_KIND_BURN
ADJUST, EXPIRE = EntryKind.ENTRY_KIND_ADJUST, EntryKind.ENTRY_KIND_EXPIRE


class Answer(Protocol):
    """Any answer that may refuse."""

    @property
    def refusal(self) -> EntryRefusal.ValueType:
        """Why nothing was done; 0 when it was."""
        ...


def refusal(answer: Answer) -> str:
    """Why nothing was done, in the protocol's word; empty when it was."""
    number = answer.refusal
    return EntryRefusal.Name(number).removeprefix("ENTRY_REFUSAL_") if number else ""


def euros(minor_units: int) -> Money:
    """An amount."""
    return Money(minor_units=minor_units, currency_code="EUR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """A club with its units, and what a till asks of its BalanceService."""

    club: Club

    @property
    def stub(self) -> BalanceServiceAsyncStub:
        """The service, as a key with every scope sees it."""
        return self.club.tenant.member.balances

    async def set_unit(
        self,
        unit: str,
        kind: BalanceUnit.Kind.ValueType = BalanceUnit.KIND_POINTS,
        *,
        slot: str = "",
        payment: BalanceUnit.SalePayment | None = None,
    ) -> BalanceUnit:
        """Makes or changes a unit."""
        request = pb.SetBalanceUnitRequest(
            balance_unit=BalanceUnit(
                program_id=self.club.program_id,
                unit=unit,
                kind=kind,
                slot=slot,
                sale_payment=payment,
            ),
            meta=meta(),
        )
        return (await self.stub.SetBalanceUnit(request)).balance_unit

    async def set_tiers(self, *tiers: Tier) -> Sequence[Tier]:
        """Replaces the tiers."""
        request = pb.SetTiersRequest(program_id=self.club.program_id, tiers=tiers, meta=meta())
        return (await self.stub.SetTiers(request)).tiers

    async def issue(self, points: int = 0) -> Pass:
        """A pass that shows these points."""
        return await self.club.issue(draft(points=points))

    async def post(
        self,
        wallet_pass: Pass,
        amount: int,
        kind: EntryKind.ValueType = EARN,
        *,
        key: str = "",
        **fields: object,
    ) -> pb.PostEntryResponse:
        """Posts an entry of points unless told otherwise. `key`: instead of a new one."""
        return await self.stub.PostEntry(post_request(wallet_pass, amount, kind, key=key, **fields))

    async def points(self, wallet_pass: Pass) -> balance_pb2.Balance:
        """The account's points."""
        view = await self.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(wallet_pass)))
        [found] = [each for each in view.balances if each.unit == "points"]
        return found

    async def shown(self, wallet_pass: Pass, slot: str = "points") -> int | str:
        """What a slot of the pass shows, an integer's or a text's."""
        value = (await self.club.get(wallet_pass)).values[slot]
        return value.text if value.HasField("text") else value.integer

    async def entries(self, wallet_pass: Pass) -> Sequence[balance_pb2.LedgerEntry]:
        """The account's entries of points, the newest first."""
        request = pb.ListEntriesRequest(ref=by_id(wallet_pass), unit="points", page_size=500)
        return (await self.stub.ListEntries(request)).entries


def entry(
    amount: int, kind: EntryKind.ValueType = EARN, *, unit: str = "points", **fields: object
) -> EntryDraft:
    """An entry to be posted."""
    return EntryDraft(unit=unit, kind=kind, amount=amount, **fields)  # type: ignore[arg-type]


def post_request(
    wallet_pass: Pass,
    amount: int,
    kind: EntryKind.ValueType = EARN,
    *,
    key: str = "",
    **fields: object,
) -> pb.PostEntryRequest:
    """A request to post an entry."""
    request = pb.PostEntryRequest(
        ref=by_id(wallet_pass),
        entry=entry(amount, kind, **fields),  # type: ignore[arg-type]
        meta=meta(),
    )
    if key:
        request.meta.request_id = key
    return request


def keyed(
    ref: Pass | PassRef,
    amount: int,
    kind: EntryKind.ValueType = EARN,
    *,
    key: str = "",
    **fields: object,
) -> pb.KeyedEntry:
    """An entry with a key, a new one unless it is given."""
    return pb.KeyedEntry(
        request_id=key or str(uuid.uuid4()),
        ref=by_id(ref) if isinstance(ref, Pass) else ref,
        entry=entry(amount, kind, **fields),  # type: ignore[arg-type]
    )


async def open_till(club: Club) -> Till:
    """The club with points, which its passes show, and of which 30 % of a sale may be paid at a
    cent each."""
    till = Till(club=club)
    payment = BalanceUnit.SalePayment(max_share_percent=30, amount=1, value=euros(1))
    await till.set_unit("points", slot="points", payment=payment)
    return till


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceWorker:
    """A worker in the test's hand."""

    services: WorkerServices
    club: Club

    async def run(self) -> int:
        """Does the club's jobs that show balances; gives how many there were."""
        rows = await self.club.tenant.fetch(
            "DELETE FROM pgqueuer.pgqueuer WHERE entrypoint = 'balance_show'"
            " AND convert_from(payload, 'UTF8') LIKE $1 RETURNING payload",
            f"[{self.club.tenant.tenant_id},%",
        )
        for row in rows:
            payload = BalancesPayload.decode(row["payload"])
            await self.services.show_balances(payload.tenant_id, payload.account_ids)
        return len(rows)


@asynccontextmanager
async def open_balance_worker(
    service: Service, club: Club, *, clock: Clock | None = None
) -> AsyncIterator[BalanceWorker]:
    """A worker on the service's database."""
    async with open_worker(service.settings, clock=clock, registry=CollectorRegistry()) as services:
        yield BalanceWorker(services=services, club=club)
