"""DeviceService: who holds passes, over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from passmill.domain.callers import Scope
from passmill.domain.registrations import DeviceNumber
from passmill.rpc.convert_device import (
    convergence_to_proto,
    day_from,
    dimensions_from,
    install_count_to_proto,
    pushes_to_proto,
    registration_to_proto,
    wanted_installs_from,
    wanted_pushes_from,
)
from passmill.rpc.convert_pass import ref_from_proto
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.usecases.convergence import MeasureConvergence
from passmill.usecases.install_statistics import InstallStatistics
from passmill.usecases.list_registrations import ListRegistrations
from passmill.usecases.mutation import Answer
from passmill.usecases.push_statistics import PushStatistics
from passmill.usecases.request_push import RequestPush
from passmill.v1 import device_service_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["DeviceService"]
RULES: Mapping[str, MethodRule] = {
    "ListRegistrations": MethodRule(scope=Scope.READ),
    "GetInstallStatistics": MethodRule(scope=Scope.READ),
    "GetPushStatistics": MethodRule(scope=Scope.READ),
    "GetConvergence": MethodRule(scope=Scope.READ),
    "RequestPush": MethodRule(scope=Scope.ISSUE, mutates=True),
}

_MOST_COUNTS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUseCases:
    """What DeviceService calls."""

    list_registrations: ListRegistrations
    install_statistics: InstallStatistics
    push_statistics: PushStatistics
    measure_convergence: MeasureConvergence
    request_push: RequestPush


class DeviceServicer:
    """Decodes, calls one use case, encodes."""

    def __init__(self, *, use_cases: DeviceUseCases, pages: Pages) -> None:
        self._use_cases = use_cases
        self._pages = pages

    async def list_registrations(self, request: pb.ListRegistrationsRequest, call: Call) -> Message:
        """Gives a page of a pass's registrations."""
        key = self._pages.key(request, request.page_token)
        size = self._pages.size(request.page_size)
        listed = await self._use_cases.list_registrations(
            call.caller,
            ref_from_proto(request.ref),
            include_removed=request.include_removed,
            after=DeviceNumber(0 if key is None else int(key[0])),
            at_most=size + 1,
        )
        page, more = listed[:size], len(listed) > size
        return pb.ListRegistrationsResponse(
            registrations=[registration_to_proto(each) for each in page],
            next_page_token=self._pages.token(request, [page[-1].registration.device_number])
            if more
            else "",
        )

    async def get_install_statistics(
        self, request: pb.GetInstallStatisticsRequest, call: Call
    ) -> Message:
        """Counts installs."""
        counts = await self._use_cases.install_statistics(
            call.caller,
            wanted_installs_from(request.filter),
            group_by=dimensions_from(request.group_by),
            at_most=_MOST_COUNTS + 1,
        )
        return pb.GetInstallStatisticsResponse(
            counts=[install_count_to_proto(each) for each in counts[:_MOST_COUNTS]],
            is_cut=len(counts) > _MOST_COUNTS,
        )

    async def get_push_statistics(
        self, request: pb.GetPushStatisticsRequest, call: Call
    ) -> Message:
        """Counts pushes."""
        counted = await self._use_cases.push_statistics(
            call.caller,
            pass_type_identifier=request.pass_type_identifier or None,
            day_from=day_from(request, "day_from"),
            day_before=day_from(request, "day_before"),
            at_most=_MOST_COUNTS + 1,
        )
        return pushes_to_proto(counted, at_most=_MOST_COUNTS)

    async def get_convergence(self, request: pb.GetConvergenceRequest, call: Call) -> Message:
        """Says how far a revision has come."""
        revision, counted = await self._use_cases.measure_convergence(
            call.caller, template_id=request.template_id, revision=request.revision
        )
        return convergence_to_proto(revision, counted)

    async def request_push(self, request: pb.RequestPushRequest, call: Call) -> Answer:
        """Pushes to devices once more."""

        def encode(pass_count: int) -> Message:
            return pb.RequestPushResponse(pass_count=pass_count)

        return await self._use_cases.request_push(
            call.mutation(request, encode), wanted_pushes_from(request)
        )
