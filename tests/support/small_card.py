"""A small card with a slot of every type, quick to publish and to render."""

from datetime import UTC, datetime
from typing import Final

from passmill.domain.templates import (
    Barcode,
    BarcodeFormat,
    Colors,
    DateStyle,
    Field,
    FieldPosition,
    ImageRole,
    PassStyle,
    Slot,
    SlotType,
    TemplateContent,
)
from passmill.domain.values import Value as DomainValue
from passmill.rpc.convert_template import values_to_proto
from passmill.v1.template_pb2 import Value
from passmill.v1.wallet_pass_pb2 import Holder, PassDraft
from tests.support.templates import images

_P = FieldPosition
NOTE_LENGTH: Final = 2000


def small_card(*more_slots: Slot) -> TemplateContent:
    """A membership card. `more_slots`: text slots, each shown on the back too."""
    slots = (
        Slot(name="points", type=SlotType.INTEGER, required=True),
        Slot(name="tier", type=SlotType.TEXT, default_value="Silver"),
        Slot(name="note", type=SlotType.TEXT, max_length=NOTE_LENGTH),
        Slot(name="balance", type=SlotType.MONEY),
        Slot(name="discount", type=SlotType.DECIMAL),
        Slot(name="since", type=SlotType.INSTANT),
        Slot(name="is_founder", type=SlotType.BOOLEAN),
        Slot(name="offers", type=SlotType.URL),
        *more_slots,
    )
    dated = Field(
        key="since",
        position=_P.SECONDARY,
        label="Since",
        value="{since}",
        date_style=DateStyle.MEDIUM,
    )
    return TemplateContent(
        style=PassStyle.GENERIC,
        organization_name="Ruderverein",
        description="Membership of the rowing club",
        title="Ruderverein",
        slots=slots,
        fields=(
            Field(key="name", position=_P.PRIMARY, label="Member", value="{holder.name}"),
            Field(key="points", position=_P.HEADER, label="Points", value="{points}"),
            dated,
            *(
                Field(key=slot.name, position=_P.BACK, label=slot.name, value=f"{{{slot.name}}}")
                for slot in slots
                if slot.name not in {"points", "since"}
            ),
        ),
        colors=Colors(background="#0b3d3a", foreground="#ffffff", label="#c8f0e0"),
        images=images(ImageRole.ICON),
        barcodes=(
            Barcode(
                format=BarcodeFormat.QR,
                message="{pass.serial_number}",
                alt_text="{pass.reference_id}",
            ),
        ),
    )


def draft(
    name: str = "Ada", *, phone: str = "", crm: str = "", points: int = 7, **values: DomainValue
) -> PassDraft:
    """A draft that fits the card. `crm`: the holder's id in a system of that name."""
    return PassDraft(
        holder=Holder(name=name, phone=phone, external_ids={"crm": crm} if crm else {}),
        values=values_to_proto({"points": points, **values}),
    )


def value(content: DomainValue) -> Value:
    """One value for the wire."""
    return values_to_proto({"x": content})["x"]


SINCE: Final = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
