"""EventService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Unpack

from passmill.v1 import event_service_pb2 as pb
from passmill.v1.event_pb2 import Event, EventKind
from passmill_client.call import Call, Feed, Listing, ReadOptions, call_of

_SERVICE = pb.DESCRIPTOR.services_by_name["EventService"]


def watch_events(
    *,
    cursor: str = "",
    kinds: Iterable[EventKind.ValueType] = (),
    only_new: bool = False,
    **options: Unpack[ReadOptions],
) -> Feed[Event]:
    """Gives events as they happen, without end: from behind a cursor, or with the oldest kept, or
    with those to come. A connection that breaks is made again and goes on where it was. Keep the
    `cursor` of the last event that you are done with; an event may come twice, with the same id.
    Scope: read."""
    wanted = list(kinds)
    place = cursor

    def take(answer: pb.WatchEventsResponse) -> Sequence[Event]:
        # Ahead of the last event by those of kinds that nobody wants.
        nonlocal place
        place = answer.cursor
        return answer.events

    def call_after(_: Event | None) -> Call[Sequence[Event]]:
        return call_of(
            _SERVICE,
            pb.WatchEventsRequest(cursor=place, kinds=wanted, only_new=only_new and not place),
            pb.WatchEventsResponse,
            take,
            options,
        )

    return Feed(after=call_after)


def list_events(
    *,
    cursor: str = "",
    kinds: Iterable[EventKind.ValueType] = (),
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Event]:
    """Lists the events that there are behind a cursor, or all that are kept, page by page. The next
    time go on with the `cursor` of the last one. Scope: read."""
    wanted = list(kinds)

    def page(token: str) -> Call[tuple[Sequence[Event], str]]:
        return call_of(
            _SERVICE,
            pb.ListEventsRequest(cursor=token or cursor, kinds=wanted, page_size=page_size),
            pb.ListEventsResponse,
            lambda answer: (answer.events, answer.cursor if answer.has_more else ""),
            options,
        )

    return Listing(page=page)
