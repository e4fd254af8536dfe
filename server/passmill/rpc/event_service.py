"""EventService: what happened, over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from passmill.domain.callers import Scope
from passmill.domain.events import EventPage
from passmill.domain.ids import TenantId
from passmill.errors import invalid_field
from passmill.rpc.convert_event import event_to_proto, kinds_from_proto
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.event_cursors import EventCursors
from passmill.rpc.paging import Pages
from passmill.rpc.streams import Stream
from passmill.usecases.list_events import ListEvents
from passmill.usecases.watch_events import WatchEvents
from passmill.v1 import event_pb2
from passmill.v1 import event_service_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["EventService"]
RULES: Mapping[str, MethodRule] = {
    "WatchEvents": MethodRule(scope=Scope.READ),
    "ListEvents": MethodRule(scope=Scope.READ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventUseCases:
    """What EventService calls."""

    watch_events: WatchEvents
    list_events: ListEvents


class EventServicer:
    """Decodes, calls one use case, encodes."""

    def __init__(self, *, use_cases: EventUseCases, cursors: EventCursors, pages: Pages) -> None:
        self._use_cases = use_cases
        self._cursors = cursors
        self._pages = pages

    async def watch_events(self, request: pb.WatchEventsRequest, stream: Stream) -> None:
        """Tells events until the caller ends it."""
        tenant_id = (await stream.caller()).tenant_id
        if request.only_new and request.cursor:
            raise invalid_field("only_new", "goes without a cursor, which says where to go on")

        async def tell(page: EventPage) -> None:
            await stream.send(
                pb.WatchEventsResponse(
                    events=self._events(tenant_id, page),
                    cursor=self._cursors.text(tenant_id, page.place),
                )
            )

        await self._use_cases.watch_events(
            stream.caller,
            after=self._cursors.place(tenant_id, request.cursor),
            kinds=kinds_from_proto(request.kinds),
            only_new=request.only_new,
            tell=tell,
        )

    async def list_events(self, request: pb.ListEventsRequest, call: Call) -> Message:
        """Gives a page of events."""
        tenant_id = call.caller.tenant_id
        page = await self._use_cases.list_events(
            call.caller,
            after=self._cursors.place(tenant_id, request.cursor),
            kinds=kinds_from_proto(request.kinds),
            at_most=self._pages.size(request.page_size),
        )
        return pb.ListEventsResponse(
            events=self._events(tenant_id, page),
            cursor=self._cursors.text(tenant_id, page.place),
            has_more=not page.is_last,
        )

    def _events(self, tenant_id: TenantId, page: EventPage) -> list[event_pb2.Event]:
        return [
            event_to_proto(each, self._cursors.text(tenant_id, each.place)) for each in page.events
        ]
