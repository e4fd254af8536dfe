"""A running service with a club in it, and what a till of its counter needs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from passmill.demo.club import set_up
from passmill.dev.local_service import LocalService
from passmill_client import AdminClient, Client, Pass, messages

START_POINTS = 1000
POINTS = "points"
ALL_RIGHTS = tuple(value for value in messages.ScannerRight.values() if value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A club with points, of which 100 are worth EUR 1 and pay at most 30 % of a sale.

    `client`: of a key with every scope. `till_key`: of a key that may redeem.
    """

    service: LocalService
    client: Client
    operator: AdminClient
    tenant_id: str
    template_id: str
    program_id: str
    till_key: str
    venue_id: str
    offer_id: str

    @property
    def address(self) -> str:
        """Of the API."""
        return self.service.api_address

    def issue(self, *, points: int = START_POINTS, name: str = "", phone: str = "") -> Pass:
        """A pass with so many points."""
        issued = self.client.issue_pass(
            self.template_id, values={"points": 0}, name=name, phone=phone
        )
        if points:
            self.client.post_entry(
                messages.ENTRY_KIND_ADJUST, points, unit=POINTS, pass_id=issued.pass_id
            )
        return issued

    def points_of(self, wallet_pass: Pass) -> int:
        """What a pass has."""
        [balance] = self.client.get_balance(pass_id=wallet_pass.pass_id).balances
        return balance.balance

    def held_of(self, wallet_pass: Pass) -> int:
        """What of it is held."""
        [balance] = self.client.get_balance(pass_id=wallet_pass.pass_id).balances
        return balance.held

    def entries_of(self, wallet_pass: Pass) -> list[messages.LedgerEntry]:
        """What tills posted to a pass, the newest first."""
        listed = self.client.list_entries(unit=POINTS, pass_id=wallet_pass.pass_id)
        return [each for each in listed if each.kind != messages.ENTRY_KIND_ADJUST]

    def code(self, *, rights: Iterable[messages.ScannerRight.ValueType] = ALL_RIGHTS) -> str:
        """A code with which a till becomes a scanner at the venue."""
        return self.client.create_scanner_code(self.venue_id, rights).code

    def uses_of(self, wallet_pass: Pass) -> list[messages.Redemption]:
        """The uses of a pass that stand, the newest first."""
        listed = self.client.list_redemptions(pass_id=wallet_pass.pass_id, only_standing=True)
        return list(listed)

    def add_key(self, *scopes: messages.ApiScope.ValueType) -> str:
        """Another key of the club."""
        made = self.operator.create_api_key("till", tenant_id=self.tenant_id, scopes=scopes)
        return made.secret_key


@contextmanager
def open_place() -> Iterator[Place]:
    """A running service with a club."""
    stop = threading.Event()
    with LocalService(processes=1) as service:
        watching = threading.Thread(target=service.supervisor.run, args=(stop,))
        watching.start()
        try:
            club = set_up(
                api_address=service.api_address,
                admin_address=service.admin_address,
                operator_key=service.operator_key,
            )
            with AdminClient(service.admin_address, service.operator_key) as operator:
                owner, till = [
                    operator.create_api_key(name, tenant_id=club.tenant_id, scopes=scopes)
                    for name, scopes in (
                        ("owner", [value for value in messages.ApiScope.values() if value]),
                        ("till", [messages.API_SCOPE_REDEEM]),
                    )
                ]
                with Client(service.api_address, owner.secret_key) as client:
                    [program] = client.list_programs()
                    client.set_balance_unit(_points(program.program_id))
                    offer = client.create_offer(
                        messages.Offer(display_name="Free coffee", attention="No take-away cups"),
                        program_id=program.program_id,
                    )
                    yield Place(
                        service=service,
                        client=client,
                        operator=operator,
                        tenant_id=club.tenant_id,
                        template_id=club.template_id,
                        program_id=program.program_id,
                        till_key=till.secret_key,
                        venue_id=client.create_venue("Main Street").venue_id,
                        offer_id=offer.offer_id,
                    )
        finally:
            stop.set()
            watching.join()


def _points(program_id: str) -> messages.BalanceUnit:
    return messages.BalanceUnit(
        program_id=program_id,
        unit=POINTS,
        kind=messages.BalanceUnit.KIND_POINTS,
        slot="points",
        sale_payment=messages.BalanceUnit.SalePayment(
            max_share_percent=30,
            amount=1,
            value=messages.Money(minor_units=1, currency_code="EUR"),
        ),
    )
