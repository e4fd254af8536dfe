"""What the lint says of a draft, with the images and the certificate that the tenant has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passmill.domain.apple.lint import ImageInfo, lint
from passmill.domain.assets import Asset
from passmill.domain.template_life import Template
from passmill.domain.templates import Finding, TemplateContent
from passmill.domain.tenants import StoredIdentity
from passmill.signing.identities import certificate_of
from passmill.store.assets import find_assets
from passmill.store.database import Transaction
from passmill.store.signing_identities import find_active_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class LintedTemplate:
    """A template, and what the lint says of its draft."""

    template: Template
    findings: Sequence[Finding]


async def lint_draft(
    tx: Transaction, content: TemplateContent, pass_type_identifier: str
) -> list[Finding]:
    """What publishing `content` under this pass type would meet now, errors first."""
    identity = await find_active_identity(tx, pass_type_identifier)
    return await lint_content(tx, content, identity)


async def lint_content(
    tx: Transaction, content: TemplateContent, identity: StoredIdentity | None
) -> list[Finding]:
    """As `lint_draft`, for a certificate in hand; without one every right is taken for given."""
    assets = await find_assets(tx, (image.asset_id for image in content.images))
    return lint(
        content,
        {asset_id: _image_info(asset) for asset_id, asset in assets.items()},
        nfc_capable=identity is None or certificate_of(identity).nfc_capable,
    )


def _image_info(asset: Asset) -> ImageInfo:
    return ImageInfo(width=asset.width, height=asset.height, size_bytes=asset.size_bytes)
