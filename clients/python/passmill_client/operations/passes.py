"""PassService."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.template_pb2 import Value
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft, PassRef, PassView
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of
from passmill_client.values import PythonValue, fill, pass_draft, to_timestamp

_SERVICE = pb.DESCRIPTOR.services_by_name["PassService"]


class PassName(ReadOptions, total=False):
    """How to name a pass: give one of them. A reference id may be in any spelling."""

    pass_id: str
    reference_id: str
    serial_number: str


class PassChange(ChangeOptions, PassName, total=False):
    """A change of a named pass. `etag`: refuse it when it is no longer the pass's current one."""

    etag: str


def issue_pass(
    template_id: str,
    *,
    name: str = "",
    phone: str = "",
    external_ids: Mapping[str, str] | None = None,
    values: Mapping[str, PythonValue | Value] | None = None,
    expire_time: datetime | None = None,
    tags: Iterable[str] = (),
    revision: int = 0,
    **options: Unpack[ChangeOptions],
) -> Call[Pass]:
    """Issues one pass from a published template revision, 0 being the newest. The answer is without
    holder and values, as of every change. Scope: issue."""
    draft = pass_draft(
        name=name,
        phone=phone,
        external_ids=external_ids,
        values=values,
        expire_time=expire_time,
        tags=tags,
    )
    request = pb.IssuePassRequest(
        template_id=template_id, revision=revision, draft=draft, meta=meta_of(options)
    )
    return call_of(
        _SERVICE, request, pb.IssuePassResponse, lambda answer: answer.wallet_pass, options
    )


def batch_issue_passes(
    template_id: str,
    drafts: Iterable[PassDraft],
    *,
    revision: int = 0,
    atomic: bool = False,
    **options: Unpack[ChangeOptions],
) -> Call[pb.BatchIssuePassesResponse]:
    """Issues up to 500 passes; a result for each draft in order, or with `atomic` all or none.
    Scope: issue."""
    request = pb.BatchIssuePassesRequest(
        template_id=template_id,
        revision=revision,
        drafts=drafts,
        atomic=atomic,
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.BatchIssuePassesResponse, lambda answer: answer, options)


def get_pass(
    *, view: PassView.ValueType = PassView.PASS_VIEW_FULL, **named: Unpack[PassName]
) -> Call[Pass]:
    """Gives one pass. Scope: read."""
    request = pb.GetPassRequest(ref=ref_of(named), view=view)
    return call_of(_SERVICE, request, pb.GetPassResponse, lambda answer: answer.wallet_pass, named)


def list_passes(
    *,
    program_id: str = "",
    template_id: str = "",
    state: Pass.State.ValueType = Pass.STATE_UNSPECIFIED,
    holder_phone: str = "",
    external_id: tuple[str, str] | None = None,
    create_time_from: datetime | None = None,
    create_time_before: datetime | None = None,
    view: PassView.ValueType = PassView.PASS_VIEW_FULL,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Pass]:
    """Lists passes in the order of their ids, page by page; each filter given narrows it.
    `external_id`: system and id there. Scope: read."""
    pair = external_id and pb.ListPassesRequest.ExternalId(system=external_id[0], id=external_id[1])
    request = pb.ListPassesRequest(
        filter=pb.ListPassesRequest.Filter(
            program_id=program_id,
            template_id=template_id,
            state=state,
            holder_phone=holder_phone,
            external_id=pair,
            create_time_from=to_timestamp(create_time_from),
            create_time_before=to_timestamp(create_time_before),
        ),
        page_size=page_size,
        view=view,
    )

    def page(token: str) -> Call[tuple[Sequence[Pass], str]]:
        request.page_token = token
        return call_of(
            _SERVICE,
            request,
            pb.ListPassesResponse,
            lambda answer: (answer.passes, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def update_pass(
    *,
    name: str | None = None,
    phone: str | None = None,
    external_ids: Mapping[str, str] | None = None,
    values: Mapping[str, PythonValue | Value | None] | None = None,
    expire_time: datetime | None = None,
    is_never_expiring: bool = False,
    revision: int | None = None,
    tags: Iterable[str] | None = None,
    **change: Unpack[PassChange],
) -> Call[Pass]:
    """Changes what is given and leaves the rest. A value of None goes back to its slot's default;
    `is_never_expiring` takes the expiry away, `tags` replaces all of them. Scope: issue."""
    given = {slot: value for slot, value in (values or {}).items() if value is not None}
    paths = [
        *(["holder.name"] if name is not None else []),
        *(["holder.phone"] if phone is not None else []),
        *(["holder.external_ids"] if external_ids is not None else []),
        *(f"values.{slot}" for slot in values or {}),
        *(["expire_time"] if expire_time is not None or is_never_expiring else []),
        *(["revision"] if revision is not None else []),
        *(["tags"] if tags is not None else []),
    ]
    wallet_pass = Pass(
        holder=Holder(name=name or "", phone=phone or "", external_ids=external_ids),
        expire_time=to_timestamp(expire_time),
        revision=revision or 0,
        tags=tags,
    )
    fill(wallet_pass.values, given)
    request = pb.UpdatePassRequest(
        ref=ref_of(change),
        wallet_pass=wallet_pass,
        update_mask=FieldMask(paths=paths),
        etag=change.get("etag", ""),
        meta=meta_of(change),
    )
    return call_of(
        _SERVICE, request, pb.UpdatePassResponse, lambda answer: answer.wallet_pass, change
    )


def void_pass(*, reason: str = "", **change: Unpack[PassChange]) -> Call[Pass]:
    """Makes a pass unusable; the reason is kept with it, not shown. Scope: issue."""
    request = pb.VoidPassRequest(
        ref=ref_of(change), reason=reason, etag=change.get("etag", ""), meta=meta_of(change)
    )
    return call_of(
        _SERVICE, request, pb.VoidPassResponse, lambda answer: answer.wallet_pass, change
    )


def reinstate_pass(**change: Unpack[PassChange]) -> Call[Pass]:
    """Makes a voided pass usable again. Scope: issue."""
    request = pb.ReinstatePassRequest(
        ref=ref_of(change), etag=change.get("etag", ""), meta=meta_of(change)
    )
    return call_of(
        _SERVICE, request, pb.ReinstatePassResponse, lambda answer: answer.wallet_pass, change
    )


def get_pass_bundle(**named: Unpack[PassName]) -> Call[bytes]:
    """Gives the signed .pkpass of one pass. Scope: read."""
    request = pb.GetPassBundleRequest(ref=ref_of(named))
    return call_of(_SERVICE, request, pb.GetPassBundleResponse, lambda answer: answer.bundle, named)


def get_passes_bundle(refs: Iterable[PassRef], **options: Unpack[ReadOptions]) -> Call[bytes]:
    """Gives up to ten passes as one .pkpasses. Scope: read."""
    request = pb.GetPassesBundleRequest(refs=refs)
    return call_of(
        _SERVICE, request, pb.GetPassesBundleResponse, lambda answer: answer.bundle, options
    )


def ref_of(named: PassName) -> PassRef:
    """The pass meant. TypeError unless it is named in exactly one way."""
    ways = [way for way in ("pass_id", "reference_id", "serial_number") if way in named]
    if len(ways) != 1:
        raise TypeError("name the pass by one of pass_id, reference_id and serial_number")
    if "pass_id" in named:
        return PassRef(pass_id=named["pass_id"])
    if "reference_id" in named:
        return PassRef(reference_id=named["reference_id"])
    return PassRef(serial_number=named["serial_number"])
