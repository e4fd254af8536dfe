"""Check what somebody says of a chain, against its template and its offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from passmill.domain.callers import Caller
from passmill.domain.chains import ChainStep, StepCondition
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import TemplateId, parse_uuid
from passmill.domain.offers import ChainId, Offer, OfferId, OfferState
from passmill.domain.values import Value
from passmill.errors import FieldError, invalid_field, not_found
from passmill.store.database import Database
from passmill.store.offers import get_offer
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import invalid_values


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDraft:
    """What may be said of a step, as sent: see `domain.chains.ChainStep`. `problems`: of values
    that could not even be read."""

    display_name: str
    partner: str
    offer_id: str
    condition: StepCondition
    next_values: Mapping[str, Value]
    next_revision: int
    problems: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainDraft:
    """What may be said of a chain, as sent."""

    display_name: str
    steps: tuple[StepDraft, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedChain:
    """A chain's name and steps as they are to be written."""

    display_name: str
    steps: tuple[ChainStep, ...]


class CheckChain:
    """Checks drafts of chains."""

    __slots__ = ("_database", "_load_revision")

    def __init__(self, *, database: Database, load_revision: LoadRevision) -> None:
        self._database = database
        self._load_revision = load_revision

    async def __call__(
        self,
        caller: Caller,
        draft: ChainDraft,
        *,
        template_id: TemplateId,
        chain_id: ChainId | None,
    ) -> CheckedChain:
        """The draft as it will be. `chain_id`: of a chain that is changed, None for a new one.

        AppError NOT_FOUND (offer), INVALID_FIELD, INVALID_VALUES; of the looks also
        REVISION_NOT_PUBLISHED, TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED.
        """
        offers = await self._offers(caller, draft.steps)
        steps: list[ChainStep] = []
        for at, (step, offer) in enumerate(zip(draft.steps, offers, strict=True)):
            path = f"chain.steps[{at}]"
            _check_offer(step, offer, path, template_id=template_id, chain_id=chain_id)
            if offer.offer_id in {each.offer_id for each in steps}:
                raise invalid_field(f"{path}.offer_id", "is that of an earlier step too")
            _check_condition(step.condition, f"{path}.condition", is_first=at == 0)
            steps.append(
                ChainStep(
                    display_name=admit_display_name(step.display_name, path=f"{path}.display_name"),
                    partner=step.partner,
                    offer_id=offer.offer_id,
                    condition=step.condition,
                    next_values=step.next_values,
                    next_revision=step.next_revision,
                )
            )
        await self._check_looks(caller, draft.steps, template_id)
        return CheckedChain(
            display_name=admit_display_name(draft.display_name, path="chain.display_name"),
            steps=tuple(steps),
        )

    async def _offers(self, caller: Caller, steps: Sequence[StepDraft]) -> list[Offer]:
        offers = []
        async with self._database.transaction(caller, read_only=True) as tx:
            for step in steps:
                offer_id = parse_uuid(step.offer_id)
                if offer_id is None:
                    raise not_found("offer")
                offers.append(await get_offer(tx, OfferId(offer_id)))
        return offers

    async def _check_looks(
        self, caller: Caller, steps: Sequence[StepDraft], template_id: TemplateId
    ) -> None:
        revision = 0  # the newest, as passes have it that are issued from now on
        for at, step in enumerate(steps):
            revision = step.next_revision or revision
            path = f"chain.steps[{at}].next_"
            problems = list(step.problems)
            if step.next_values or step.next_revision:
                loaded = await self._load_revision.for_issue(caller, str(template_id), revision)
                problems += loaded.rules.check_overlay(step.next_values)
            if problems:
                raise invalid_values(
                    [
                        FieldError(path=f"{path}{each.path}", message=each.message)
                        for each in problems
                    ]
                )


def _check_offer(
    step: StepDraft,
    offer: Offer,
    path: str,
    *,
    template_id: TemplateId,
    chain_id: ChainId | None,
) -> None:
    if offer.template_id != template_id:
        raise invalid_field(f"{path}.offer_id", "is an offer to other passes than the template's")
    if offer.chain_id not in {None, chain_id}:
        raise invalid_field(f"{path}.offer_id", "is a step of another chain; make it an own offer")
    if offer.state is OfferState.ARCHIVED:
        raise invalid_field(f"{path}.offer_id", "is archived")
    if step.next_revision and offer.cost is not None:
        raise invalid_field(f"{path}.next_revision", "cannot be with an offer that costs something")


def _check_condition(condition: StepCondition, path: str, *, is_first: bool) -> None:
    after, before = condition.after_previous, condition.before_previous
    if is_first and (after or before):
        raise invalid_field(path, "of the first step cannot be about the step before")
    if before != timedelta(0) and before <= after:
        raise invalid_field(
            f"{path}.before_previous_seconds", "must be more than after_previous_seconds"
        )
    if condition.from_minute == condition.until_minute != 0:
        raise invalid_field(f"{path}.until_minute", "must be another than from_minute")
    if not condition.time_zone and not condition.is_by_clock:
        return
    try:
        ZoneInfo(condition.time_zone)
    except (LookupError, ValueError, OSError):  # as it says for what is no zone's name
        raise invalid_field(
            f"{path}.time_zone", 'must be an IANA time zone, such as "Europe/Vienna"'
        ) from None
