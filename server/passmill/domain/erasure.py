"""What is left of a pass, and of a campaign's recipients, when their holder is erased."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, assert_never
from uuid import UUID

from passmill.domain.ids import CampaignId, campaign_pass_ids
from passmill.domain.money import Money
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.templates import TemplateContent
from passmill.domain.values import Slot, SlotType, Value, values_from_json, values_to_json

ERASED_REASON: Final = "erased"
"""The void reason of an erased holder's passes."""

_NOTHING: Final = "-"  # fits every place of a text: barcodes, strips, names
_NO_ADDRESS: Final = "https://erased.invalid/"  # RFC 2606: nobody's, for ever
_MOMENT: Final = datetime(2001, 1, 1, tzinfo=UTC)
_COLUMNS: Final = ("names", "phones", "expire_times", "holder_ids", "tags")


def erased_pass(wallet_pass: WalletPass, content: TemplateContent) -> WalletPass:
    """A pass without anything of its holder: voided, with no name, number, id or tag, and of values
    only what its revision cannot be shown without, each one alike for everybody. `content`: of the
    revision that it shows."""
    values = values_from_json(content.slots, wallet_pass.slot_values)
    return replace(
        wallet_pass,
        state=PassState.VOIDED,
        void_reason=ERASED_REASON,
        holder=Holder(),
        tags=(),
        slot_values=values_to_json(
            {
                slot.name: _blank(slot, values[slot.name])
                for slot in content.slots
                if slot.required and slot.default_value is None and slot.name in values
            }
        ),
    )


def _blank(slot: Slot, value: Value) -> Value:
    match value:
        case bool():
            return False
        case str():
            return _NO_ADDRESS if slot.type is SlotType.URL else _NOTHING
        case int():
            return 0
        case Decimal():
            return Decimal(0)
        case Money():
            # A currency tells of nobody, and places are made for its digits.
            return Money(minor_units=0, currency=value.currency)
        case datetime():
            return _MOMENT
        case _:
            assert_never(value)


def blank_issued(
    text: str, *, campaign_id: CampaignId, pass_ids: Collection[UUID]
) -> tuple[str, list[int]] | None:
    """A chunk of recipients of a campaign that issues, without those who got these passes, and
    their places in it; None when nobody there did. A place stays, refused as it were: no pass can
    be made from it again."""
    stored = json.loads(text)
    wanted = {each.bytes for each in pass_ids}
    made = campaign_pass_ids(campaign_id, stored["external_ids"] or ())
    places = [at for at, pass_id in enumerate(made) if pass_id in wanted]
    return _blanked(stored, places, lambda _: None)


def blank_named(text: str, *, pass_ids: Collection[UUID]) -> tuple[str, list[int]] | None:
    """A chunk of recipients that name passes, or what a shard keeps to take itself back, without
    what is said of these passes, and their places in it; None when they are not there. The id of
    the pass stays: whoever acts on it finds it voided."""
    stored = json.loads(text)
    wanted = {each.hex for each in pass_ids}
    places = [at for at, pass_id in enumerate(stored["pass_ids"] or ()) if pass_id in wanted]
    # None is of a recipient that was refused, and stays so.
    return _blanked(stored, places, lambda values: None if values is None else "{}")


def _blanked(
    stored: dict[str, list[str | None] | None],
    places: list[int],
    blank_values: Callable[[str | None], str | None],
) -> tuple[str, list[int]] | None:
    if not places:
        return None
    for at in places:
        for name in _COLUMNS:
            if (column := stored.get(name)) is not None:
                column[at] = None
        if (ids := stored["external_ids"]) is not None:
            ids[at] = ""
        if (values := stored["values"]) is not None:
            values[at] = blank_values(values[at])
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":")), places
