"""The linter: what would keep a template from becoming the pass that was meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from passmill.domain.apple.document import RevisionPins, build_document
from passmill.domain.apple.field_nodes import TemplateNotRenderable
from passmill.domain.apple.lint.fields import check_colors, check_fields
from passmill.domain.apple.lint.images import ImageInfo, check_images
from passmill.domain.apple.lint.places import (
    check_barcodes,
    check_links,
    check_nfc,
    check_relevance,
)
from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.lint.schemes import check_hints, check_schemes
from passmill.domain.apple.lint.semantics import check_semantics
from passmill.domain.apple.lint.texts import check_texts, check_translations
from passmill.domain.templates.content import TemplateContent
from passmill.domain.templates.findings import Finding, FindingCode, Severity

__all__ = ["ImageInfo", "lint"]


# Nothing that is linted depends on them.
_ANY_PINS: Final = RevisionPins(pass_type_identifier="", team_identifier="", web_service_url=None)


def lint(
    content: TemplateContent, images: Mapping[str, ImageInfo], *, nfc_capable: bool
) -> list[Finding]:
    """All findings, errors first. A content without errors can be compiled.

    `images` tells of every uploaded asset by id; `nfc_capable` whether the signing certificate has
    Apple's right to contactless passes.
    """
    report = Report(content)
    check_texts(report)
    check_fields(report)
    check_colors(report)
    check_images(report, images)
    check_barcodes(report)
    check_nfc(report, nfc_capable=nfc_capable)
    check_relevance(report)
    check_links(report)
    check_semantics(report)
    check_schemes(report)
    check_hints(report)
    check_translations(report)
    _check_renders(report)
    return sorted(report.findings, key=lambda finding: finding.severity is not Severity.ERROR)


def _check_renders(report: Report) -> None:
    """The last word: what has no error so far must render."""
    if any(finding.severity is Severity.ERROR for finding in report.findings):
        return
    try:
        build_document(report.content, _ANY_PINS)
    except TemplateNotRenderable as error:
        report.error(FindingCode.TEXT_INVALID, error.path, error.message)
