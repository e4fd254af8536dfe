"""Check what somebody says of an offer, against its program, its template and its venues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.callers import Caller
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import TemplateId, parse_uuid
from passmill.domain.offers import OfferMark, UnitAmount
from passmill.domain.values import SlotType, Value
from passmill.domain.venues import VenueId
from passmill.errors import FieldError, invalid_field, not_found
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import invalid_values


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferDraft:
    """What may be said of an offer, as sent: see `domain.offers.Offer`. `mark_values`: what slots
    become when it is used up. `problems`: of values that could not even be read."""

    display_name: str
    max_uses: int
    cost: UnitAmount | None
    worth: UnitAmount | None
    valid_from: datetime | None
    valid_until: datetime | None
    venue_ids: tuple[str, ...]
    tiers: tuple[str, ...]
    attention: str
    uses_slot: str
    mark_values: Mapping[str, Value]
    void_when_used_up: bool
    problems: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOffer:
    """An offer's fields by their names, as it is to be written; whether its venues exist is to be
    asked in its transaction."""

    display_name: str
    max_uses: int
    cost: UnitAmount | None
    worth: UnitAmount | None
    valid_from: datetime | None
    valid_until: datetime | None
    venue_ids: tuple[VenueId, ...]
    tiers: tuple[str, ...]
    attention: str
    mark: OfferMark


class CheckOffer:
    """Checks drafts of offers."""

    __slots__ = ("_load_revision",)

    def __init__(self, *, load_revision: LoadRevision) -> None:
        self._load_revision = load_revision

    async def __call__(
        self, caller: Caller, draft: OfferDraft, *, template_id: TemplateId | None
    ) -> CheckedOffer:
        """The draft as it will be. `template_id`: None for an offer to all passes of a program,
        whose mark is checked only when a pass shows it.

        AppError NOT_FOUND (venue, template), INVALID_FIELD, INVALID_VALUES; of a mark's template
        also REVISION_NOT_PUBLISHED, TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED.
        """
        for path, amount in (("offer.cost", draft.cost), ("offer.worth", draft.worth)):
            if amount is not None and amount.amount <= 0:
                raise invalid_field(f"{path}.amount", "must be more than 0")
        if draft.problems:
            raise invalid_values(list(draft.problems))
        mark = OfferMark(
            uses_slot=draft.uses_slot,
            used_up_values=draft.mark_values,
            void_when_used_up=draft.void_when_used_up,
        )
        if template_id is not None and (mark.uses_slot or mark.used_up_values):
            await self._check_mark(caller, draft, template_id)
        return CheckedOffer(
            display_name=admit_display_name(draft.display_name, path="offer.display_name"),
            max_uses=draft.max_uses,
            cost=draft.cost,
            worth=draft.worth,
            valid_from=draft.valid_from,
            valid_until=draft.valid_until,
            venue_ids=tuple(_venue_id(text) for text in draft.venue_ids),
            tiers=draft.tiers,
            attention=draft.attention,
            mark=mark,
        )

    async def _check_mark(self, caller: Caller, draft: OfferDraft, template_id: TemplateId) -> None:
        loaded = await self._load_revision.for_issue(caller, str(template_id), 0)
        integers = {slot.name for slot in loaded.content.slots if slot.type is SlotType.INTEGER}
        if draft.uses_slot and draft.uses_slot not in integers:
            raise invalid_field(
                "offer.mark.uses_slot", "is no integer slot of the template's newest revision"
            )
        violations = loaded.rules.check_overlay(draft.mark_values)
        if violations:
            raise invalid_values(
                [
                    FieldError(path=f"offer.mark.used_up_{each.path}", message=each.message)
                    for each in violations
                ]
            )


def require_order(valid_from: datetime | None, valid_until: datetime | None) -> None:
    """AppError INVALID_FIELD for an offer that is over before it begins."""
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise invalid_field("offer.valid_until", "must be after valid_from")


def _venue_id(text: str) -> VenueId:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("venue")
    return VenueId(parsed)
