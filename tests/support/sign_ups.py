"""Signing up as a phone does, and the worker behind it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.rpc.convert_template import values_to_proto
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft
from tests.edge.rig import Edge, Held, hold
from tests.support import templates
from tests.support.service import TEAM, Club, Service, authority
from tests.support.sign_up_card import sign_up_card
from tests.support.tools import run

FORM_FILES: Final = {
    "personalization.json",
    *(f"personalizationLogo{density}.png" for density in ("", "@2x", "@3x")),
}
INFO: Final = {
    "fullName": "Zoë Ōtani",
    "givenName": "Zoë",
    "familyName": "Ōtani",
    "emailAddress": "zoe@club.example",
    "postalCode": "8004",
    "ISOCountryCode": "CH",
    "phoneNumber": "+41 44 668 18 00",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpClub:
    """A club with a card that asks for a sign-up."""

    club: Club
    pass_type: str

    async def issue(self) -> Held:
        """A pass of nobody known, in somebody's pocket."""
        content = sign_up_card()
        draft = PassDraft(
            holder=Holder(external_ids={"crm": "4711"}),
            values=values_to_proto(templates.values(content)),
        )
        return await hold(self.club, await self.club.issue(draft))

    async def get(self, held: Held) -> Pass:
        """The pass as it is now."""
        return await self.club.get(held.wallet_pass)

    async def events(self, held: Held) -> list[str]:
        """How the outbox tells that the pass became another, in order."""
        rows = await self.club.tenant.fetch(
            "SELECT kind FROM outbox WHERE pass_ids @> ARRAY[$1::uuid]"
            " AND kind <> 'pass.first_fetched' ORDER BY event_id",
            held.wallet_pass.pass_id,
        )
        return [row["kind"] for row in rows]


async def add_sign_up_club(service: Service, pass_type: str) -> SignUpClub:
    """A tenant that can issue such cards, of this pass type."""
    tenant = await service.add_tenant()
    issued = authority().issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier=pass_type, team_identifier=TEAM, nfc=True
    )
    await tenant.add_identity(issued)
    program_id = await tenant.add_program(pass_type)
    template_id = await tenant.add_template(program_id, sign_up_card())
    await tenant.publish(template_id)
    club = Club(tenant=tenant, program_id=program_id, template_id=template_id)
    return SignUpClub(club=club, pass_type=pass_type)


@asynccontextmanager
async def open_sign_up_worker(service: Service) -> AsyncIterator[WorkerServices]:
    """A worker that serves sign-ups and nothing else until the block ends."""
    stop = asyncio.Event()
    async with (
        open_worker(service.settings, registry=CollectorRegistry()) as services,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(services.sign_ups.run(stop))
        try:
            yield services
        finally:
            stop.set()


async def drain(service: Service, club: SignUpClub) -> None:
    """Has a worker do whatever sign-ups are queued."""
    async with open_sign_up_worker(service):
        for _ in range(600):
            waiting = await club.club.tenant.fetch(
                "SELECT FROM pgqueuer.pgqueuer WHERE entrypoint = 'pass_personalize'"
            )
            if not waiting:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("sign-ups stay in the queue")


def new_token() -> str:
    """What a phone wants signed."""
    return secrets.token_urlsafe(32)


def body(token: str, **info: Any) -> dict[str, Any]:
    """What a phone sends. `info`: answers other than the usual ones."""
    return {"personalizationToken": token, "requiredPersonalizationInfo": {**INFO, **info}}


async def sign_up(edge: Edge, held: Held, token: str, **info: Any) -> httpx.Response:
    """Sends the form of a pass in."""
    return await edge.client.post(f"{held.path}/personalize", json=body(token, **info))


async def fetch(edge: Edge, held: Held) -> httpx.Response:
    """The pass as the edge gives it to its phone."""
    return await edge.client.get(held.path, headers=held.authorization)


def verify_token(cms: bytes, token: str, folder: Path) -> None:
    """Has openssl prove the detached CMS over the token, up to the tests' root."""
    (folder / "signature").write_bytes(cms)
    (folder / "token").write_bytes(token.encode())
    (folder / "root.pem").write_bytes(authority().root_pem)
    run(
        "openssl",
        *("cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
        *("-in", folder / "signature", "-content", folder / "token"),
        *("-CAfile", folder / "root.pem", "-out", folder / "verified"),
    )
    assert (folder / "verified").read_bytes() == token.encode()
