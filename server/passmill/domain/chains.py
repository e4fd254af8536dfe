"""Chains: passes that change with each use, by one partner after the other. Pure rules.

What decides a step is its row (`store/chains.py`); these say beforehand what would come of it, and
afterwards why.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from passmill.domain.ids import ProgramId, TemplateId
from passmill.domain.offers import ChainId, OfferId
from passmill.domain.redemptions import RedemptionId
from passmill.domain.scans import RefusalReason
from passmill.domain.values import (
    SlotType,
    Value,
    slot_type_of,
    value_from_json,
    value_to_json,
)

_DAY = timedelta(days=1)


class ChainState(enum.IntEnum):
    """Stored as its number."""

    ACTIVE = 1
    ARCHIVED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCondition:
    """When a step can be taken, by the time at which the pass was shown.

    `after_previous`, `before_previous`: since the step before, the first inclusive; zero for no
    bound. `weekdays`: 1 for Monday; empty for all. `from_minute`, `until_minute`: of the day, in
    `time_zone`; an end that is not after the beginning is of the day after, and 0 is midnight.
    """

    after_previous: timedelta = timedelta(0)
    before_previous: timedelta = timedelta(0)
    weekdays: frozenset[int] = frozenset()
    from_minute: int = 0
    until_minute: int = 0
    time_zone: str = ""

    @property
    def is_by_clock(self) -> bool:
        """Whether days or hours matter."""
        return bool(self.weekdays or self.from_minute or self.until_minute)

    def refusal(self, previous: datetime | None, *, at: datetime) -> RefusalReason | None:
        """TOO_EARLY or TOO_LATE, None when the step can be taken then. `previous`: when the step
        before was taken, None for the first step."""
        if previous is not None:
            if self.before_previous and at >= previous + self.before_previous:
                return RefusalReason.TOO_LATE
            # Without a bound the order of clocks does not matter, which are never quite right.
            if self.after_previous and at < previous + self.after_previous:
                return RefusalReason.TOO_EARLY
        if self.is_by_clock and not self._is_open(at.astimezone(ZoneInfo(self.time_zone))):
            return RefusalReason.TOO_EARLY
        return None

    def _is_open(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        end = self.until_minute or 24 * 60
        if self.from_minute < end:
            return self._is_day(local) and self.from_minute <= minute < end
        # Over midnight: the hours belong to the day on which they began.
        if minute >= self.from_minute:
            return self._is_day(local)
        return minute < end and self._is_day(local - _DAY)

    def _is_day(self, local: datetime) -> bool:
        return not self.weekdays or local.isoweekday() in self.weekdays


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStep:
    """A step: whose it is, what is had, when, and the look of a pass that has taken it.
    `next_revision`: number of the revision it has then, 0 for its own."""

    display_name: str
    partner: str
    offer_id: OfferId
    condition: StepCondition = field(default_factory=StepCondition)
    next_values: Mapping[str, Value] = field(default_factory=dict)
    next_revision: int = 0

    @property
    def has_look(self) -> bool:
        """Whether a pass shows that it was taken."""
        return bool(self.next_values or self.next_revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain. `version`: of its steps; `revision`: of all of it."""

    chain_id: ChainId
    program_id: ProgramId
    template_id: TemplateId
    display_name: str
    steps: tuple[ChainStep, ...]
    version: int
    revision: int
    state: ChainState
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with each change."""
        return f"v{self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPlace:
    """Where a pass stands in a chain: so many steps are `done`, the latest of them at `step_time`
    by `redemption_id`. `steps`: of the version it keeps; of the newest one before it has begun."""

    chain_id: ChainId
    state: ChainState
    version: int
    steps: tuple[ChainStep, ...]
    has_begun: bool = False
    done: int = 0
    step_time: datetime | None = None
    redemption_id: RedemptionId | None = None

    @property
    def next_step(self) -> ChainStep | None:
        """The step at which the pass stands; None when all are done."""
        return self.steps[self.done] if self.done < len(self.steps) else None

    def number_of(self, offer_id: OfferId) -> int | None:
        """Which step, from 0, an offer is; None when it is none of this version."""
        offers = [step.offer_id for step in self.steps]
        return offers.index(offer_id) if offer_id in offers else None

    def is_hidden(self, offer_id: OfferId, *, partner: str) -> bool:
        """Whether a partner must not see the offer. The tenant's own staff, who have no partner,
        see all."""
        number = self.number_of(offer_id)
        return partner != "" and (number is None or self.steps[number].partner != partner)

    def refusal(self, offer_id: OfferId, *, partner: str, at: datetime) -> RefusalReason | None:
        """Why the step of an offer cannot be taken there and then, None when it can."""
        if self.is_hidden(offer_id, partner=partner):
            return RefusalReason.NOT_YOUR_STEP
        if self.state is ChainState.ARCHIVED:
            return RefusalReason.OFFER_ENDED
        number = self.number_of(offer_id)
        if number is not None and number < self.done:
            return RefusalReason.ALREADY_REDEEMED
        step = self.next_step
        if step is None or number != self.done or step.partner != partner:
            return RefusalReason.NOT_YOUR_STEP
        return step.condition.refusal(self.step_time, at=at)


def steps_to_json(steps: Sequence[ChainStep]) -> str:
    """The stored form of a version's steps."""
    return json.dumps(
        [_step_to_json(step) for step in steps], separators=(",", ":"), ensure_ascii=False
    )


def steps_from_json(text: str) -> tuple[ChainStep, ...]:
    """What `steps_to_json` wrote."""
    return tuple(_step_from_json(each) for each in json.loads(text))


def _step_to_json(step: ChainStep) -> dict[str, object]:
    when = step.condition
    return {
        "display_name": step.display_name,
        "partner": step.partner,
        "offer_id": str(step.offer_id),
        "after_previous": int(when.after_previous.total_seconds()),
        "before_previous": int(when.before_previous.total_seconds()),
        "weekdays": sorted(when.weekdays),
        "from_minute": when.from_minute,
        "until_minute": when.until_minute,
        "time_zone": when.time_zone,
        # With the types of the slots that take them.
        "next_values": {
            name: [slot_type_of(value), value_to_json(value)]
            for name, value in step.next_values.items()
        },
        "next_revision": step.next_revision,
    }


def _step_from_json(stored: Mapping[str, Any]) -> ChainStep:
    return ChainStep(
        display_name=stored["display_name"],
        partner=stored["partner"],
        offer_id=OfferId(UUID(stored["offer_id"])),
        condition=StepCondition(
            after_previous=timedelta(seconds=stored["after_previous"]),
            before_previous=timedelta(seconds=stored["before_previous"]),
            weekdays=frozenset(stored["weekdays"]),
            from_minute=stored["from_minute"],
            until_minute=stored["until_minute"],
            time_zone=stored["time_zone"],
        ),
        next_values={
            name: value_from_json(SlotType(kind), raw)
            for name, (kind, raw) in stored["next_values"].items()
        },
        next_revision=stored["next_revision"],
    )
