"""What the lint rules share: the template under test and the list of what was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from passmill.domain.apple.text_nodes import (
    BadDate,
    BadNumber,
    TextNodes,
    UnknownSlot,
    UnrenderableText,
    WrongSlotType,
    single_placeholder,
)
from passmill.domain.templates.content import TemplateContent
from passmill.domain.templates.findings import Finding, FindingCode, Severity
from passmill.domain.templates.placeholders import (
    BARCODE,
    BadTemplateText,
    Placeholder,
    parse_text,
)
from passmill.domain.templates.value_rules import sample_texts
from passmill.domain.values import SlotType

_BARCODE = Placeholder(BARCODE)
_CODES: dict[type[UnrenderableText], FindingCode] = {
    BadDate: FindingCode.DATE_INVALID,
    BadNumber: FindingCode.NUMBER_INVALID,
    WrongSlotType: FindingCode.SLOT_TYPE,
}


class Report:
    """Findings of one lint run, in the order in which the rules report them."""

    def __init__(self, content: TemplateContent) -> None:
        self.content = content
        self.nodes = TextNodes(content.slots)
        self.findings: list[Finding] = []
        self._samples = sample_texts(content.barcode_kind)

    def error(self, code: FindingCode, path: str, message: str) -> None:
        """Something that blocks publishing."""
        self._add(Severity.ERROR, code, path, message)

    def warn(self, code: FindingCode, path: str, message: str) -> None:
        """Something to know before publishing."""
        self._add(Severity.WARNING, code, path, message)

    def _add(self, severity: Severity, code: FindingCode, path: str, message: str) -> None:
        found = Finding(severity=severity, code=code, path=path, message=message)
        self.findings.append(found)

    @contextmanager
    def rendering(self, path: str) -> Iterator[None]:
        """Reports what cannot be rendered. Bad braces and unknown slots are reported once, by the
        rule for texts, so not here."""
        try:
            yield
        except (BadTemplateText, UnknownSlot):
            pass
        except UnrenderableText as error:
            self.error(_CODES[type(error)], path, str(error))

    def fixed_text(self, text: str) -> str | None:
        """The text as it comes out, if it is the same on every pass but for a barcode, which is
        always as long and of the same characters."""
        try:
            parts = parse_text(text)
        except BadTemplateText:
            return None
        barcode = self._samples[BARCODE]
        texts = [barcode if part == _BARCODE else part for part in parts]
        fixed = [text for text in texts if isinstance(text, str)]
        return "".join(fixed) if len(fixed) == len(texts) else None

    def sole_slot_type(self, text: str) -> SlotType | None:
        """The type of the slot that is the whole text, if one is."""
        try:
            name = single_placeholder(self.nodes.parse(text))
        except (BadTemplateText, UnknownSlot):
            return None
        return None if name is None else self.nodes.type_of(name)
