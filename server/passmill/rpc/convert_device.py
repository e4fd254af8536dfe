"""Between device.proto, device_service.proto and what is known of devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from google.protobuf.message import Message
from google.type import date_pb2

from passmill.domain.device_statistics import (
    NO_CAMPAIGN,
    Convergence,
    InstallCount,
    InstallDimension,
    LastPush,
    ListedRegistration,
)
from passmill.domain.registrations import RemoveReason, Wallet
from passmill.errors import invalid_field
from passmill.rpc.convert_pass import ref_from_proto
from passmill.rpc.convert_time import timestamp
from passmill.usecases.install_statistics import WantedInstalls
from passmill.usecases.push_statistics import CountedPushes
from passmill.usecases.request_push import WantedPushes
from passmill.v1 import device_pb2
from passmill.v1 import device_service_pb2 as pb

_WALLETS: Final[Mapping[Wallet, device_pb2.Wallet.ValueType]] = {
    Wallet.APPLE: device_pb2.WALLET_APPLE,
    Wallet.ANDROID_PASS: device_pb2.WALLET_ANDROID_PASS,
    Wallet.WALLET_UNION: device_pb2.WALLET_WALLET_UNION,
}
# As passmill.domain.push_outcomes numbers them.
_PUSH_STATES: Final[Mapping[int, device_pb2.PushState.ValueType]] = {
    1: device_pb2.PUSH_STATE_ACCEPTED,
    2: device_pb2.PUSH_STATE_REJECTED,
    3: device_pb2.PUSH_STATE_INVALIDATED,
    4: device_pb2.PUSH_STATE_UNREACHABLE,
}
_REMOVE_REASONS: Final[Mapping[RemoveReason, device_pb2.Registration.RemoveReason.ValueType]] = {
    RemoveReason.DEVICE_ASKED: device_pb2.Registration.REMOVE_REASON_DEVICE_ASKED,
    RemoveReason.TOKEN_GONE: device_pb2.Registration.REMOVE_REASON_TOKEN_GONE,
}
_DIMENSIONS: Final[Mapping[pb.InstallDimension.ValueType, InstallDimension]] = {
    pb.INSTALL_DIMENSION_TEMPLATE: InstallDimension.TEMPLATE,
    pb.INSTALL_DIMENSION_CAMPAIGN: InstallDimension.CAMPAIGN,
    pb.INSTALL_DIMENSION_DAY: InstallDimension.DAY,
    pb.INSTALL_DIMENSION_WALLET: InstallDimension.WALLET,
    pb.INSTALL_DIMENSION_SYSTEM_VERSION: InstallDimension.SYSTEM_VERSION,
}


def registration_to_proto(listed: ListedRegistration) -> device_pb2.Registration:
    """A registration for the wire."""
    registration = listed.registration
    message = device_pb2.Registration(
        device_number=str(registration.device_number),
        pass_id=str(registration.pass_id),
        wallet=_WALLETS[registration.wallet],
        system_version=registration.system_version,
        create_time=timestamp(registration.create_time),
        last_seen_time=timestamp(registration.last_seen_time),
        is_told=listed.is_told,
    )
    if registration.remove_time is not None:
        message.remove_time.CopyFrom(timestamp(registration.remove_time))
    if registration.remove_reason is not None:
        message.remove_reason = _REMOVE_REASONS[registration.remove_reason]
    if listed.last_push is not None:
        message.last_push.CopyFrom(_last_push(listed.last_push))
    return message


def _last_push(last: LastPush) -> device_pb2.Registration.LastPush:
    return device_pb2.Registration.LastPush(
        state=_PUSH_STATES.get(last.state, device_pb2.PUSH_STATE_UNSPECIFIED),
        reason=last.reason,
        time=timestamp(last.time),
    )


def wanted_installs_from(message: pb.GetInstallStatisticsRequest.Filter) -> WantedInstalls:
    """Which installs to count. AppError INVALID_FIELD for a day that is none."""
    return WantedInstalls(
        program_id=message.program_id,
        template_id=message.template_id,
        campaign_id=message.campaign_id,
        day_from=day_from(message, "day_from", path="filter.day_from"),
        day_before=day_from(message, "day_before", path="filter.day_before"),
    )


def dimensions_from(numbers: Iterable[pb.InstallDimension.ValueType]) -> list[InstallDimension]:
    """What to count by; the rules in the proto let only known ones in."""
    return [_DIMENSIONS[number] for number in numbers]


def install_count_to_proto(count: InstallCount) -> pb.InstallCount:
    """A count of installs for the wire."""
    message = pb.InstallCount(
        system_version=count.system_version or "",
        installs=count.installs,
        removals=count.removals,
        live=count.live,
    )
    if count.template_id is not None:
        message.template_id = str(count.template_id)
    if count.campaign_id not in (None, NO_CAMPAIGN):
        message.campaign_id = str(count.campaign_id)
    if count.day is not None:
        message.day.CopyFrom(day_to_proto(count.day))
    if count.wallet is not None:
        message.wallet = _WALLETS[count.wallet]
    return message


def pushes_to_proto(counted: CountedPushes, *, at_most: int) -> pb.GetPushStatisticsResponse:
    """Counts of pushes for the wire, so many at most."""
    return pb.GetPushStatisticsResponse(
        counts=[
            pb.PushCount(
                pass_type_identifier=each.pass_type_identifier,
                day=day_to_proto(each.day),
                state=_PUSH_STATES.get(each.state, device_pb2.PUSH_STATE_UNSPECIFIED),
                reason=each.reason,
                count=each.count,
            )
            for each in counted.counts[:at_most]
        ],
        stopped=[
            pb.StoppedTopic(
                pass_type_identifier=each.pass_type_identifier,
                reason=each.reason,
                stop_time=timestamp(each.stop_time),
                probe_time=timestamp(each.probe_time),
            )
            for each in counted.stopped
        ],
        is_cut=len(counted.counts) > at_most,
    )


def convergence_to_proto(revision: int, counted: Convergence) -> pb.GetConvergenceResponse:
    """How far a revision has come, for the wire."""
    return pb.GetConvergenceResponse(
        revision=revision,
        installed=counted.installed,
        moved=counted.moved,
        changed=counted.changed,
        pushed=counted.pushed,
        told=counted.told,
        fetched=counted.fetched,
        converged=counted.converged,
        share=counted.share,
    )


def wanted_pushes_from(request: pb.RequestPushRequest) -> WantedPushes:
    """Whose devices to push to."""
    return WantedPushes(
        refs=[ref_from_proto(ref) for ref in request.passes.refs],
        template_id=request.template_id,
        campaign_id=request.campaign_id,
        only_laggards=request.only_laggards,
    )


def day_from(message: Message, field: str, *, path: str = "") -> date | None:
    """A day, None when it is absent. `path`: the field's place in the request, its name when empty.
    AppError INVALID_FIELD when it is none, or not whole."""
    if not message.HasField(field):
        return None
    given: date_pb2.Date = getattr(message, field)
    try:
        return date(given.year, given.month, given.day)
    except (ValueError, OverflowError):
        raise invalid_field(path or field, "must be a day, with year, month and day") from None


def day_to_proto(day: date) -> date_pb2.Date:
    """A day for the wire."""
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)
