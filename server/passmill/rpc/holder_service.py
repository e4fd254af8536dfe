"""HolderService: who holds passes, over gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from passmill.domain.callers import Caller, Scope
from passmill.domain.holders import IdentityKind, KnownHolder
from passmill.domain.scanners import ScannerRight
from passmill.rpc.convert_holder import (
    holder_ref_from_proto,
    identity_from_proto,
    known_holder_to_proto,
    linked_to_proto,
    phone_from_proto,
)
from passmill.rpc.convert_pass import ref_from_proto
from passmill.rpc.desks import Desks
from passmill.rpc.door import Call, MethodRule
from passmill.usecases.erase_holder import EraseHolder
from passmill.usecases.find_holder import FindHolder, FoundHolders, HolderRef
from passmill.usecases.find_pass import PassRef
from passmill.usecases.holder_in_hand import Linked
from passmill.usecases.link_identity import LinkIdentity
from passmill.usecases.link_pass import LinkPass
from passmill.usecases.mutation import Answer
from passmill.usecases.unlink_identity import UnlinkIdentity
from passmill.v1 import holder_service_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["HolderService"]
RULES: Mapping[str, MethodRule] = {
    "FindHolder": MethodRule(scope=Scope.READ),
    "IdentifyHolder": MethodRule(scope=Scope.REDEEM),
    "LinkIdentity": MethodRule(scope=Scope.REDEEM, mutates=True),
    "UnlinkIdentity": MethodRule(scope=Scope.REDEEM, mutates=True),
    "LinkPass": MethodRule(scope=Scope.REDEEM, mutates=True),
    "EraseHolder": MethodRule(scope=Scope.ADMIN, mutates=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderUseCases:
    """What HolderService calls."""

    find_holder: FindHolder
    link_identity: LinkIdentity
    unlink_identity: UnlinkIdentity
    link_pass: LinkPass
    erase_holder: EraseHolder


class HolderServicer:
    """Decodes, calls one use case, encodes."""

    def __init__(self, *, use_cases: HolderUseCases, desks: Desks) -> None:
        self._use_cases = use_cases
        self._desks = desks

    async def find_holder(self, request: pb.FindHolderRequest, call: Call) -> Message:
        """Finds holders."""
        found = await self._found(call.caller, request)
        return pb.FindHolderResponse(
            holders=[known_holder_to_proto(each) for each in found.holders], is_cut=found.is_cut
        )

    async def _found(self, caller: Caller, request: pb.FindHolderRequest) -> FoundHolders:
        find = self._use_cases.find_holder
        match request.WhichOneof("by"):
            case "identity":
                known = await find.by_identity(caller, identity_from_proto(request.identity))
                return FoundHolders(holders=() if known is None else (known,), is_cut=False)
            case "phone":
                return await find.by_phone(caller, phone_from_proto(request.phone))
            case "external_id":
                wanted = request.external_id
                return await find.by_external_id(caller, wanted.system, wanted.id)
            case _:
                return await find.by_ref(caller, holder_ref_from_proto(request.holder))

    async def identify_holder(self, request: pb.IdentifyHolderRequest, call: Call) -> Message:
        """Finds the holder of an identity."""
        identity = identity_from_proto(request.identity)
        is_phone = identity.kind is IdentityKind.PHONE
        looks_up = (ScannerRight.LOOK_UP,) if is_phone else ()
        await self._desks(call.caller, (ScannerRight.IDENTIFY, *looks_up))
        known = await self._use_cases.find_holder.identify(call.caller, identity)
        return pb.IdentifyHolderResponse(
            holder=None if known is None else known_holder_to_proto(known)
        )

    async def link_identity(self, request: pb.LinkIdentityRequest, call: Call) -> Answer:
        """Links an identity."""

        def encode(linked: Linked) -> Message:
            return linked_to_proto(pb.LinkIdentityResponse, linked)

        ref = holder_ref_from_proto(request.ref)
        await self._desks(call.caller, _rights_to_link(request.move), _passes_of(ref))
        return await self._use_cases.link_identity(
            call.mutation(request, encode),
            ref=ref,
            identity=identity_from_proto(request.identity),
            move=request.move,
        )

    async def unlink_identity(self, request: pb.UnlinkIdentityRequest, call: Call) -> Answer:
        """Unlinks an identity."""

        def encode(was_linked: bool) -> Message:
            return pb.UnlinkIdentityResponse(was_linked=was_linked)

        ref = holder_ref_from_proto(request.ref)
        await self._desks(call.caller, (ScannerRight.LINK,), _passes_of(ref))
        return await self._use_cases.unlink_identity(
            call.mutation(request, encode),
            ref=ref,
            identity=identity_from_proto(request.identity),
        )

    async def link_pass(self, request: pb.LinkPassRequest, call: Call) -> Answer:
        """Links a pass."""

        def encode(linked: Linked) -> Message:
            return linked_to_proto(pb.LinkPassResponse, linked)

        ref, wallet_pass = holder_ref_from_proto(request.ref), ref_from_proto(request.wallet_pass)
        named = [*_passes_of(ref), wallet_pass]
        await self._desks(call.caller, _rights_to_link(request.move), named)
        return await self._use_cases.link_pass(
            call.mutation(request, encode), ref=ref, wallet_pass=wallet_pass, move=request.move
        )

    async def erase_holder(self, request: pb.EraseHolderRequest, call: Call) -> Answer:
        """Erases a holder."""

        def encode(known: KnownHolder) -> Message:
            return pb.EraseHolderResponse(holder=known_holder_to_proto(known))

        return await self._use_cases.erase_holder(
            call.mutation(request, encode), ref=holder_ref_from_proto(request.ref)
        )


def _rights_to_link(is_moving: bool) -> Iterable[ScannerRight]:
    return (ScannerRight.LINK, ScannerRight.MOVE) if is_moving else (ScannerRight.LINK,)


def _passes_of(ref: HolderRef) -> Iterable[PassRef]:
    return () if ref.wallet_pass is None else (ref.wallet_pass,)
