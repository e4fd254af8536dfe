"""Rules for a reward sign-up.

Source: https://developer.apple.com/documentation/walletpasses/personalize, and the Wallet Developer
Guide on rewards enrollment.
"""

from __future__ import annotations

from passmill.domain.apple.lint.report import Report
from passmill.domain.templates.content import ImageRole, PassStyle
from passmill.domain.templates.findings import FindingCode
from passmill.domain.templates.placeholders import (
    BadTemplateText,
    parse_text,
    placeholder_names,
)

_CODE = FindingCode.PERSONALIZATION
_PATH = "apple.personalization"


def check_personalization(report: Report) -> None:
    """Where there may be a sign-up, and that its form has what Wallet shows."""
    content, form = report.content, report.content.apple.personalization
    if form is None:
        return
    if content.style is not PassStyle.STORE_CARD or content.nfc is None:
        message = "only a store card with a contactless message can ask for a sign-up; leave it out"
        report.error(_CODE, _PATH, message)
    if all(ref.role is not ImageRole.PERSONALIZATION_LOGO for ref in content.images):
        message = "the sign-up form needs a personalization logo of 150 by 40 points; add it"
        report.error(_CODE, "images", message)
    if not form.required_fields or len(set(form.required_fields)) < len(form.required_fields):
        message = "must name what the form asks for, each once"
        report.error(_CODE, f"{_PATH}.required_fields", message)
    if not form.description.strip():
        message = "the sign-up form needs it; say in a few words what one signs up for"
        report.error(_CODE, f"{_PATH}.description", message)
    for name, text in (
        ("description", form.description),
        ("terms_and_conditions", form.terms_and_conditions),
    ):
        if _has_placeholder(text):
            message = "holds a placeholder, but the form is the same on every pass; write it out"
            report.error(_CODE, f"{_PATH}.{name}", message)


def _has_placeholder(text: str) -> bool:
    try:
        return bool(placeholder_names(parse_text(text)))
    except BadTemplateText:
        return False  # reported with all texts
