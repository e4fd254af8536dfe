"""Between proto/passmill/v1/chain.proto and chains."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from passmill.domain.chains import Chain, ChainState, ChainStep, StepCondition
from passmill.rpc.convert_template import values_from_proto, values_to_proto
from passmill.rpc.convert_time import timestamp
from passmill.usecases.check_chain import ChainDraft, StepDraft
from passmill.v1 import chain_pb2 as pb

_STATES: Final[Mapping[ChainState, pb.Chain.State.ValueType]] = {
    ChainState.ACTIVE: pb.Chain.STATE_ACTIVE,
    ChainState.ARCHIVED: pb.Chain.STATE_ARCHIVED,
}
_WEEKDAYS: Final[Mapping[int, pb.StepCondition.Weekday.ValueType]] = {
    number: number for number in pb.StepCondition.Weekday.values() if number
}


def chain_draft_from(message: pb.Chain) -> ChainDraft:
    """What is said of a chain; values that cannot be read are among its steps' problems."""
    return ChainDraft(
        display_name=message.display_name, steps=tuple(_step_from(each) for each in message.steps)
    )


def chain_to_proto(chain: Chain) -> pb.Chain:
    """A chain for the wire."""
    return pb.Chain(
        chain_id=str(chain.chain_id),
        program_id=str(chain.program_id),
        template_id=str(chain.template_id),
        display_name=chain.display_name,
        steps=[_step_to_proto(each) for each in chain.steps],
        version=chain.version,
        state=_STATES[chain.state],
        create_time=timestamp(chain.create_time),
        update_time=timestamp(chain.update_time),
        etag=chain.etag,
    )


def _step_from(message: pb.ChainStep) -> StepDraft:
    values, problems = values_from_proto(message.next_values)
    when = message.condition
    return StepDraft(
        display_name=message.display_name,
        partner=message.partner,
        offer_id=message.offer_id,
        condition=StepCondition(
            after_previous=timedelta(seconds=when.after_previous_seconds),
            before_previous=timedelta(seconds=when.before_previous_seconds),
            weekdays=frozenset(int(number) for number in when.weekdays),
            from_minute=when.from_minute,
            until_minute=when.until_minute,
            time_zone=when.time_zone,
        ),
        next_values=values,
        next_revision=message.next_revision,
        problems=tuple(problems),
    )


def _step_to_proto(step: ChainStep) -> pb.ChainStep:
    message = pb.ChainStep(
        display_name=step.display_name,
        partner=step.partner,
        offer_id=str(step.offer_id),
        next_values=values_to_proto(step.next_values),
        next_revision=step.next_revision,
    )
    when = step.condition
    if when != StepCondition():
        message.condition.CopyFrom(
            pb.StepCondition(
                after_previous_seconds=int(when.after_previous.total_seconds()),
                before_previous_seconds=int(when.before_previous.total_seconds()),
                weekdays=[_WEEKDAYS[number] for number in sorted(when.weekdays)],
                from_minute=when.from_minute,
                until_minute=when.until_minute,
                time_zone=when.time_zone,
            )
        )
    return message
