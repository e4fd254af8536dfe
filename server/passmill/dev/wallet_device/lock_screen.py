"""What the lock screen says of an update.

Source: Apple, "Adding a web service to update passes": changed fields with a changeMessage, `%@`
replaced by the new value. Of several such fields iOS shows one general message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passmill.dev.wallet_device.bundle import PassContent, pass_fields
from passmill.dev.wallet_device.strings import choose_strings


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A changed field that has a message. `text`: localised, with its new value."""

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is shown: title (the organization), and a line. `changes`: what it is made of."""

    serial_number: str
    title: str
    line: str
    changes: tuple[FieldChange, ...]


GENERAL_LINE = "Pass updated"
"""Our word for the general message; Apple's own is localised by the system."""


def find_alert(before: PassContent, after: PassContent, languages: Sequence[str]) -> Alert | None:
    """What an update shows, None when it is silent. Values as they stand in pass.json, translated;
    numbers and dates are not formatted for a region."""
    strings = choose_strings(languages, after.strings)
    old = {each["key"]: each["value"] for each in pass_fields(before.document)}
    changes = tuple(
        FieldChange(
            key=each["key"],
            text=_translate(each["changeMessage"], strings).replace(
                "%@", _translate(each["value"], strings)
            ),
        )
        for each in pass_fields(after.document)
        if "changeMessage" in each and each["key"] in old and old[each["key"]] != each["value"]
    )
    if not changes:
        return None
    return Alert(
        serial_number=after.serial_number,
        title=_translate(after.document["organizationName"], strings),
        line=changes[0].text if len(changes) == 1 else GENERAL_LINE,
        changes=changes,
    )


def _translate(value: object, strings: dict[str, str]) -> str:
    text = value if isinstance(value, str) else str(value)
    return strings.get(text, text)
