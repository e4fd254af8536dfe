"""Between proto/passmill/v1/holder.proto and holders."""

from __future__ import annotations

from passmill.domain.holders import (
    HeldPass,
    Identity,
    IdentityKind,
    InvalidIdentity,
    KnownHolder,
    LinkedIdentity,
    read_identity,
)
from passmill.domain.passes import PassState
from passmill.domain.reference_ids import format_reference_id
from passmill.errors import invalid_field
from passmill.rpc.convert_balance import balance_to_proto
from passmill.rpc.convert_pass import ref_from_proto
from passmill.rpc.convert_time import timestamp
from passmill.usecases.find_holder import HolderRef
from passmill.usecases.holder_in_hand import Linked
from passmill.v1 import holder_pb2, wallet_pass_pb2
from passmill.v1 import holder_service_pb2 as pb

# Kinds, states and refusals have the protocol's numbers (a test compares their names).


def holder_ref_from_proto(message: pb.HolderRef) -> HolderRef:
    """A reference as sent."""
    if message.WhichOneof("ref") == "wallet_pass":
        return HolderRef(wallet_pass=ref_from_proto(message.wallet_pass))
    return HolderRef(holder_id=message.holder_id)


def identity_from_proto(message: holder_pb2.Identity, *, path: str = "identity") -> Identity:
    """An identity as sent, at this place of the request. AppError INVALID_FIELD."""
    try:
        return read_identity(IdentityKind(message.kind), message.system, message.id)
    except InvalidIdentity as error:
        raise invalid_field(f"{path}.{error.field}", str(error)) from None


def phone_from_proto(phone: str) -> Identity:
    """A telephone number as sent. AppError INVALID_FIELD."""
    try:
        return read_identity(IdentityKind.PHONE, "", phone)
    except InvalidIdentity as error:
        raise invalid_field("phone", str(error)) from None


def known_holder_to_proto(known: KnownHolder) -> holder_pb2.KnownHolder:
    """A holder for the wire."""
    message = holder_pb2.KnownHolder(
        identities=[_identity_to_proto(each) for each in known.identities],
        passes=[_held_to_proto(each) for each in known.passes],
        balances=[balance_to_proto(each) for each in known.balances],
    )
    if (holder := known.holder) is not None:
        message.holder_id = str(holder.holder_id)
        message.create_time.CopyFrom(timestamp(holder.create_time))
        if holder.erase_time is not None:
            message.erase_time.CopyFrom(timestamp(holder.erase_time))
        if holder.erase_end_time is not None:
            message.erase_end_time.CopyFrom(timestamp(holder.erase_end_time))
    return message


def linked_to_proto(
    response: type[pb.LinkIdentityResponse | pb.LinkPassResponse], linked: Linked
) -> pb.LinkIdentityResponse | pb.LinkPassResponse:
    """What came of a link, in the response message of its method."""
    refusal = holder_pb2.HOLDER_REFUSAL_UNSPECIFIED
    if linked.refusal is not None:
        refusal = holder_pb2.HolderRefusal.ValueType(linked.refusal)
    return response(
        refusal=refusal, holder_id="" if linked.holder_id is None else str(linked.holder_id)
    )


def _identity_to_proto(linked: LinkedIdentity) -> holder_pb2.LinkedIdentity:
    return holder_pb2.LinkedIdentity(
        kind=holder_pb2.IdentityKind.ValueType(linked.kind),
        system=linked.system,
        create_time=timestamp(linked.create_time),
    )


def _held_to_proto(held: HeldPass) -> holder_pb2.HeldPass:
    is_voided = held.state is PassState.VOIDED
    return holder_pb2.HeldPass(
        pass_id=str(held.pass_id),
        reference_id=format_reference_id(held.reference_number),
        program_id=str(held.program_id),
        template_id=str(held.template_id),
        state=wallet_pass_pb2.Pass.STATE_VOIDED if is_voided else wallet_pass_pb2.Pass.STATE_ACTIVE,
        create_time=timestamp(held.create_time),
    )
