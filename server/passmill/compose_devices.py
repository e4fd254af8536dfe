"""What API processes serve about devices and events."""

from __future__ import annotations

from passmill.compose_frame import Frame
from passmill.rpc import device_service, event_service
from passmill.rpc.event_cursors import EventCursors
from passmill.usecases.convergence import MeasureConvergence
from passmill.usecases.find_pass import FindPass
from passmill.usecases.install_statistics import InstallStatistics
from passmill.usecases.list_events import ListEvents
from passmill.usecases.list_registrations import ListRegistrations
from passmill.usecases.push_statistics import PushStatistics
from passmill.usecases.request_push import RequestPush
from passmill.usecases.watch_events import WatchEvents


def device_servicer(frame: Frame, find_pass: FindPass) -> device_service.DeviceServicer:
    """DeviceService on a frame."""
    return device_service.DeviceServicer(
        use_cases=device_service.DeviceUseCases(
            list_registrations=ListRegistrations(database=frame.database, find_pass=find_pass),
            install_statistics=InstallStatistics(database=frame.database),
            push_statistics=PushStatistics(database=frame.database),
            measure_convergence=MeasureConvergence(database=frame.database),
            request_push=RequestPush(
                database=frame.database,
                mutator=frame.mutator,
                find_pass=find_pass,
                clock=frame.clock,
            ),
        ),
        pages=frame.pages,
    )


def event_servicer(frame: Frame) -> event_service.EventServicer:
    """EventService on a frame."""
    list_events = ListEvents(database=frame.database)
    return event_service.EventServicer(
        use_cases=event_service.EventUseCases(
            watch_events=WatchEvents(list_events=list_events), list_events=list_events
        ),
        cursors=EventCursors(keyring=frame.keyring),
        pages=frame.pages,
    )
