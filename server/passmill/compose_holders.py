"""What API processes serve, and workers do, about holders, wired."""

from __future__ import annotations

from passmill.compose_frame import Frame
from passmill.domain.rates import Rates
from passmill.rpc import holder_service, server
from passmill.rpc.desks import Desks
from passmill.usecases.complete_erasures import CompleteErasures
from passmill.usecases.edit_pass import EditPass
from passmill.usecases.erase_holder import EraseHolder
from passmill.usecases.find_holder import FindHolder
from passmill.usecases.find_pass import FindPass
from passmill.usecases.link_identity import LinkIdentity
from passmill.usecases.link_pass import LinkPass
from passmill.usecases.unlink_identity import UnlinkIdentity


def holder_services(
    frame: Frame, *, find_pass: FindPass, edit_pass: EditPass, desks: Desks
) -> server.PublishedServices:
    """HolderService on a frame."""
    servicer = _holder_servicer(frame, find_pass, edit_pass, desks)
    return {holder_service.SERVICE: (servicer, holder_service.RULES)}


def _holder_servicer(
    frame: Frame, find_pass: FindPass, edit_pass: EditPass, desks: Desks
) -> holder_service.HolderServicer:
    limits = frame.settings.counter
    mutator, clock = frame.mutator, frame.clock
    find_holder = FindHolder(
        database=frame.database,
        find_pass=find_pass,
        keyring=frame.keyring,
        clock=clock,
        misses=Rates(per_second=limits.look_ups_per_second, burst=limits.look_up_burst),
    )
    return holder_service.HolderServicer(
        use_cases=holder_service.HolderUseCases(
            find_holder=find_holder,
            link_identity=LinkIdentity(mutator=mutator, find_holder=find_holder, clock=clock),
            unlink_identity=UnlinkIdentity(mutator=mutator, find_holder=find_holder),
            link_pass=LinkPass(
                mutator=mutator, find_holder=find_holder, find_pass=find_pass, clock=clock
            ),
            erase_holder=EraseHolder(
                database=frame.database,
                mutator=mutator,
                find_holder=find_holder,
                edit_pass=edit_pass,
                finish_signing=frame.rendering.finish_signing,
                clock=clock,
                metrics=frame.metrics,
            ),
        ),
        desks=desks,
    )


def complete_erasures(frame: Frame) -> CompleteErasures:
    """The worker's upkeep on a frame."""
    return CompleteErasures(database=frame.database, clock=frame.clock)
