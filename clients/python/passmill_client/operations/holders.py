"""HolderService."""

from __future__ import annotations

from typing import Unpack

from passmill.v1 import holder_service_pb2 as pb
from passmill.v1.holder_pb2 import Identity, KnownHolder
from passmill.v1.wallet_pass_pb2 import PassRef
from passmill_client.call import Call, ChangeOptions, ReadOptions, call_of, meta_of

_SERVICE = pb.DESCRIPTOR.services_by_name["HolderService"]


def find_holder(
    *,
    holder_id: str = "",
    wallet_pass: PassRef | None = None,
    identity: Identity | None = None,
    phone: str = "",
    external_id: tuple[str, str] | None = None,
    **options: Unpack[ReadOptions],
) -> Call[pb.FindHolderResponse]:
    """Finds holders by their id, a pass, an identity, a telephone number, or an id (system, id)
    that passes were issued with; exactly one is given. Scope: read."""
    given = (holder_id, wallet_pass, identity, phone, external_id)
    if sum(map(bool, given)) != 1:
        raise TypeError("give one of holder_id, wallet_pass, identity, phone and external_id")
    request = pb.FindHolderRequest(identity=identity)
    if phone:
        request.phone = phone
    elif external_id is not None:
        request.external_id.system, request.external_id.id = external_id
    elif identity is None:
        request.holder.CopyFrom(_ref(holder_id, wallet_pass))
    return call_of(_SERVICE, request, pb.FindHolderResponse, lambda answer: answer, options)


def identify_holder(identity: Identity, **options: Unpack[ReadOptions]) -> Call[KnownHolder | None]:
    """Finds the holder that an identity was linked to, None when there is none. Scope: redeem."""
    return call_of(
        _SERVICE,
        pb.IdentifyHolderRequest(identity=identity),
        pb.IdentifyHolderResponse,
        lambda answer: answer.holder if answer.HasField("holder") else None,
        options,
    )


def link_identity(
    identity: Identity,
    *,
    holder_id: str = "",
    wallet_pass: PassRef | None = None,
    move: bool = False,
    **options: Unpack[ChangeOptions],
) -> Call[pb.LinkIdentityResponse]:
    """Lets an identity find a holder, or the holder of a pass; `move`: also if it is another's. The
    answer says why not. Scope: redeem."""
    request = pb.LinkIdentityRequest(
        ref=_ref(holder_id, wallet_pass), identity=identity, move=move, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.LinkIdentityResponse, lambda answer: answer, options)


def unlink_identity(
    identity: Identity,
    *,
    holder_id: str = "",
    wallet_pass: PassRef | None = None,
    **options: Unpack[ChangeOptions],
) -> Call[bool]:
    """Lets an identity of a holder find nobody; gives whether the holder had it. Scope: redeem."""
    request = pb.UnlinkIdentityRequest(
        ref=_ref(holder_id, wallet_pass), identity=identity, meta=meta_of(options)
    )
    return call_of(
        _SERVICE, request, pb.UnlinkIdentityResponse, lambda answer: answer.was_linked, options
    )


def link_pass(
    linked: PassRef,
    *,
    holder_id: str = "",
    wallet_pass: PassRef | None = None,
    move: bool = False,
    **options: Unpack[ChangeOptions],
) -> Call[pb.LinkPassResponse]:
    """Makes a pass a holder's, who is named by id or by another pass; `move`: also if it is
    another's. The answer says why not. Scope: redeem."""
    request = pb.LinkPassRequest(
        ref=_ref(holder_id, wallet_pass), wallet_pass=linked, move=move, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.LinkPassResponse, lambda answer: answer, options)


def erase_holder(
    *,
    holder_id: str = "",
    wallet_pass: PassRef | None = None,
    **options: Unpack[ChangeOptions],
) -> Call[KnownHolder]:
    """Makes a holder's data unreadable, for good, and voids the passes. Scope: admin."""
    request = pb.EraseHolderRequest(ref=_ref(holder_id, wallet_pass), meta=meta_of(options))
    return call_of(_SERVICE, request, pb.EraseHolderResponse, lambda answer: answer.holder, options)


def _ref(holder_id: str, wallet_pass: PassRef | None) -> pb.HolderRef:
    if bool(holder_id) == (wallet_pass is not None):
        raise TypeError("give one of holder_id and wallet_pass")
    if wallet_pass is not None:
        return pb.HolderRef(wallet_pass=wallet_pass)
    return pb.HolderRef(holder_id=holder_id)
