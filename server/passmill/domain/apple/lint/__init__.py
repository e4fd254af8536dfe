"""The linter: what would keep a template from becoming the pass that was meant."""

from __future__ import annotations

from collections.abc import Mapping

from passmill.domain.apple.lint.bundle import check_files, check_pass_json
from passmill.domain.apple.lint.fields import check_colors, check_fields
from passmill.domain.apple.lint.images import ImageInfo, check_images
from passmill.domain.apple.lint.personalization import check_personalization
from passmill.domain.apple.lint.places import (
    check_barcodes,
    check_links,
    check_nfc,
    check_relevance,
)
from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.lint.schemes import check_hints, check_schemes
from passmill.domain.apple.lint.semantics import check_semantics
from passmill.domain.apple.lint.sharing import check_sharing
from passmill.domain.apple.lint.texts import check_texts, check_translations
from passmill.domain.templates.content import TemplateContent
from passmill.domain.templates.findings import Finding, Severity

__all__ = ["ImageInfo", "lint"]


def lint(
    content: TemplateContent, images: Mapping[str, ImageInfo], *, nfc_capable: bool
) -> list[Finding]:
    """All findings, errors first. A content without errors can be compiled, and its files put
    together; the larger it is the longer this takes, up to a second.

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
    check_personalization(report)
    check_sharing(report)
    check_translations(report)
    check_files(report, images)
    check_pass_json(report)
    return sorted(report.findings, key=lambda finding: finding.severity is not Severity.ERROR)
