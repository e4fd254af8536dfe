"""What the lint says of a draft, with the images and the certificate that the tenant has.

Reading is done in a transaction, judging outside of it and off the loop: a large draft takes some
hundred milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from passmill.domain.apple.lint import ImageInfo, lint
from passmill.domain.assets import Asset
from passmill.domain.template_life import Template, TemplateRevision
from passmill.domain.templates import Finding, FindingCode, Severity, TemplateContent
from passmill.domain.tenants import StoredIdentity
from passmill.signing.identities import certificate_of
from passmill.signing.native import InvalidBundle
from passmill.signing.revisions import LoadedRevision, load_revision
from passmill.store.assets import find_assets
from passmill.store.database import Transaction
from passmill.store.signing_identities import find_active_identity

# Stands for the team while nobody has uploaded a certificate that would name it.
UNKNOWN_TEAM: Final = "0000000000"
# How often to begin anew when what was judged is no longer what is there.
MAX_TRIES: Final = 10

_REFUSALS: Final = {
    "TOO_MANY_FILES": FindingCode.FILE_COUNT,
    "FILE_TOO_LARGE": FindingCode.STRINGS_SIZE,
    "BUNDLE_TOO_LARGE": FindingCode.TOTAL_SIZE,
    "IMAGE_TOO_LARGE": FindingCode.IMAGE_TOO_LARGE,
    "MISSING_ICON": FindingCode.IMAGE_MISSING,
    "UNREADABLE_DOCUMENT": FindingCode.PASS_SIZE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LintedTemplate:
    """A template, and what the lint says of its draft."""

    template: Template
    findings: Sequence[Finding]


class DraftMoved(Exception):
    """Between judging and locking, the draft or the active identity became another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a draft is judged by besides itself: the active identity of its pass type, if there is
    one, and the assets it names as far as the tenant has them, by id."""

    identity: StoredIdentity | None
    images: Mapping[str, ImageInfo]


async def read_surroundings(
    tx: Transaction, content: TemplateContent, pass_type_identifier: str
) -> Surroundings:
    """What publishing `content` under this pass type would meet now."""
    assets = await find_assets(tx, (image.asset_id for image in content.images))
    return Surroundings(
        identity=await find_active_identity(tx, pass_type_identifier),
        images={asset_id: _image_info(asset) for asset_id, asset in assets.items()},
    )


def lint_draft(content: TemplateContent, surroundings: Surroundings) -> list[Finding]:
    """The findings, errors first; without a certificate every right is taken for given. Takes long,
    so off the loop."""
    identity = surroundings.identity
    return lint(
        content,
        surroundings.images,
        nfc_capable=identity is None or certificate_of(identity).nfc_capable,
    )


def prepare_draft(
    revision: TemplateRevision, surroundings: Surroundings, assets: Mapping[str, bytes]
) -> tuple[list[Finding], LoadedRevision | None]:
    """The findings, and the draft made ready as the revision that it would become; None when
    something is wrong with it. Takes long, so off the loop.

    `assets`: bytes by asset id.
    """
    if revision.content is None:
        raise ValueError("A draft is judged with its content.")
    findings = lint_draft(revision.content, surroundings)
    if any(finding.severity is Severity.ERROR for finding in findings):
        return findings, None
    try:
        return findings, load_revision(revision, assets)
    except InvalidBundle as error:
        # The signer has the last word, as with an image that was damaged where it is stored.
        code = _REFUSALS.get(error.reason, FindingCode.IMAGE_INVALID)
        path = "fields" if code is FindingCode.PASS_SIZE else "images"
        refusal = Finding(severity=Severity.ERROR, code=code, path=path, message=str(error))
        return [refusal, *findings], None


def _image_info(asset: Asset) -> ImageInfo:
    return ImageInfo(width=asset.width, height=asset.height, size_bytes=asset.size_bytes)
