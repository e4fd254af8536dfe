"""Holders as tills and offices see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from passmill.v1 import holder_service_pb2 as pb
from passmill.v1.holder_pb2 import (
    IDENTITY_KIND_EMAIL,
    IDENTITY_KIND_EXTERNAL,
    IDENTITY_KIND_PAYMENT_CARD,
    IDENTITY_KIND_PHONE,
    Identity,
    KnownHolder,
)
from passmill.v1.holder_service_pb2_grpc import HolderServiceStub
from passmill.v1.wallet_pass_pb2 import Pass, PassRef
from tests.support.channels import keyed
from tests.support.service import Club, meta

if TYPE_CHECKING:  # exists for type checkers only
    from passmill.v1.holder_service_pb2_grpc import HolderServiceAsyncStub


def card(token: str) -> Identity:
    """What a terminal says of a payment card."""
    return Identity(kind=IDENTITY_KIND_PAYMENT_CARD, system="terminal", id=token)


def customer(number: str, *, system: str = "till") -> Identity:
    """A customer number."""
    return Identity(kind=IDENTITY_KIND_EXTERNAL, system=system, id=number)


def email(address: str) -> Identity:
    """An e-mail address, or its SHA-256."""
    return Identity(kind=IDENTITY_KIND_EMAIL, id=address)


def phone(number: str) -> Identity:
    """A telephone number."""
    return Identity(kind=IDENTITY_KIND_PHONE, id=number)


def ref(holder: str | Pass) -> pb.HolderRef:
    """A holder by its id, or by a pass."""
    if isinstance(holder, str):
        return pb.HolderRef(holder_id=holder)
    return pb.HolderRef(wallet_pass=PassRef(pass_id=holder.pass_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A club's holders."""

    club: Club

    @property
    def stub(self) -> HolderServiceAsyncStub:
        """The holder service, as a key with every scope sees it."""
        tenant = self.club.tenant
        return HolderServiceStub(keyed(tenant.service.api, tenant.member.api_key))

    async def link(
        self, holder: str | Pass, identity: Identity, *, move: bool = False
    ) -> pb.LinkIdentityResponse:
        """Links an identity."""
        request = pb.LinkIdentityRequest(ref=ref(holder), identity=identity, move=move, meta=meta())
        return await self.stub.LinkIdentity(request)

    async def unlink(self, holder: str | Pass, identity: Identity) -> bool:
        """Unlinks an identity; gives whether the holder had it."""
        request = pb.UnlinkIdentityRequest(ref=ref(holder), identity=identity, meta=meta())
        return (await self.stub.UnlinkIdentity(request)).was_linked

    async def link_pass(
        self, holder: str | Pass, wallet_pass: Pass, *, move: bool = False
    ) -> pb.LinkPassResponse:
        """Makes a pass a holder's."""
        request = pb.LinkPassRequest(
            ref=ref(holder),
            wallet_pass=PassRef(pass_id=wallet_pass.pass_id),
            move=move,
            meta=meta(),
        )
        return await self.stub.LinkPass(request)

    async def erase(self, holder: str | Pass) -> KnownHolder:
        """Erases a holder."""
        request = pb.EraseHolderRequest(ref=ref(holder), meta=meta())
        return (await self.stub.EraseHolder(request)).holder

    async def identify(self, identity: Identity) -> KnownHolder | None:
        """The holder of an identity, as a till asks."""
        answer = await self.stub.IdentifyHolder(pb.IdentifyHolderRequest(identity=identity))
        return answer.holder if answer.HasField("holder") else None

    async def get(self, holder: str | Pass) -> KnownHolder:
        """The holder that a reference names."""
        answer = await self.stub.FindHolder(pb.FindHolderRequest(holder=ref(holder)))
        [found] = answer.holders
        return found

    async def events(self, kind: str) -> list[dict[str, object]]:
        """The passes and detail of the tenant's events of a kind, the oldest first."""
        rows = await self.club.tenant.fetch(
            "SELECT pass_ids, detail::jsonb ->> 'holder_id' AS holder_id,"
            " detail::jsonb ->> 'previous_holder_id' AS previous_holder_id"
            " FROM outbox WHERE kind = $1 ORDER BY event_id",
            kind,
        )
        return [dict(row) for row in rows]


def ids_of(known: KnownHolder) -> set[str]:
    """The passes of a holder."""
    return {each.pass_id for each in known.passes}


def uuid_of(wallet_pass: Pass) -> UUID:
    """The id of a pass."""
    return UUID(wallet_pass.pass_id)
