"""DeviceService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Unpack

from google.type.date_pb2 import Date

from passmill.v1 import device_service_pb2 as pb
from passmill.v1.device_pb2 import Registration
from passmill.v1.wallet_pass_pb2 import PassRef
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of
from passmill_client.operations.passes import PassName, ref_of

_SERVICE = pb.DESCRIPTOR.services_by_name["DeviceService"]


def list_registrations(
    *, include_removed: bool = False, page_size: int = 500, **named: Unpack[PassName]
) -> Listing[Registration]:
    """Lists the devices of a pass, each with the last push to it; also those that have it no more
    if `include_removed`. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Registration], str]]:
        return call_of(
            _SERVICE,
            pb.ListRegistrationsRequest(
                ref=ref_of(named),
                include_removed=include_removed,
                page_size=page_size,
                page_token=token,
            ),
            pb.ListRegistrationsResponse,
            lambda answer: (answer.registrations, answer.next_page_token),
            named,
        )

    return Listing(page=page)


def get_install_statistics(
    *,
    program_id: str = "",
    template_id: str = "",
    campaign_id: str = "",
    day_from: date | None = None,
    day_before: date | None = None,
    group_by: Iterable[pb.InstallDimension.ValueType] = (),
    **options: Unpack[ReadOptions],
) -> Call[pb.GetInstallStatisticsResponse]:
    """Counts passes put on devices and taken from them, by `messages.INSTALL_DIMENSION_…`, or in
    one sum. Days are UTC's. Scope: read."""
    request = pb.GetInstallStatisticsRequest(
        filter=pb.GetInstallStatisticsRequest.Filter(
            program_id=program_id,
            template_id=template_id,
            campaign_id=campaign_id,
            day_from=_day(day_from),
            day_before=_day(day_before),
        ),
        group_by=group_by,
    )
    return call_of(
        _SERVICE, request, pb.GetInstallStatisticsResponse, lambda answer: answer, options
    )


def get_push_statistics(
    *,
    pass_type_identifier: str = "",
    day_from: date | None = None,
    day_before: date | None = None,
    **options: Unpack[ReadOptions],
) -> Call[pb.GetPushStatisticsResponse]:
    """Counts pushes by how they ended, of one pass type or all, and says which pass types are
    stopped. Days are UTC's. Scope: read."""
    request = pb.GetPushStatisticsRequest(
        pass_type_identifier=pass_type_identifier,
        day_from=_day(day_from),
        day_before=_day(day_before),
    )
    return call_of(_SERVICE, request, pb.GetPushStatisticsResponse, lambda answer: answer, options)


def get_convergence(
    template_id: str, *, revision: int = 0, **options: Unpack[ReadOptions]
) -> Call[pb.GetConvergenceResponse]:
    """Says how many holders have a template's revision, 0 being the newest, and where the others
    are on the way to it. Scope: read."""
    request = pb.GetConvergenceRequest(template_id=template_id, revision=revision)
    return call_of(_SERVICE, request, pb.GetConvergenceResponse, lambda answer: answer, options)


def request_push(
    *,
    refs: Iterable[PassRef] = (),
    template_id: str = "",
    campaign_id: str = "",
    only_laggards: bool = False,
    **options: Unpack[ChangeOptions],
) -> Call[int]:
    """Pushes once more to the devices of up to 500 passes, of a template's, or of a campaign's;
    with `only_laggards` to those alone whose pass nobody has fetched since it changed. Gives how
    many passes. Scope: issue."""
    passes = pb.RequestPushRequest.Passes(refs=refs)
    if sum(map(bool, (passes.refs, template_id, campaign_id))) != 1:
        raise TypeError("give one of refs, template_id and campaign_id")
    request = pb.RequestPushRequest(only_laggards=only_laggards, meta=meta_of(options))
    if template_id:
        request.template_id = template_id
    elif campaign_id:
        request.campaign_id = campaign_id
    else:
        request.passes.CopyFrom(passes)
    return call_of(
        _SERVICE, request, pb.RequestPushResponse, lambda answer: answer.pass_count, options
    )


def _day(day: date | None) -> Date | None:
    return None if day is None else Date(year=day.year, month=day.month, day=day.day)
