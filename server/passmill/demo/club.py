"""Sets up the coffee club through the API, as a new customer would: tenant, keys, signing identity,
program, template."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from passmill.demo.console import DemoFailed
from passmill.dev import coffee_club
from passmill.dev.authority import ThrowawayAuthority
from passmill_client import AdminClient, Client, messages

MAKING_AUTHORITY: Final = "making a throw-away certificate authority shaped like Apple's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Club:
    """A tenant that can issue. `root_pem`: what its signatures are checked with."""

    tenant_id: str
    issue_key: str
    template_id: str
    root_pem: bytes


def set_up(
    *,
    api_address: str,
    admin_address: str,
    operator_key: str,
    authority: ThrowawayAuthority | None = None,
    card: Callable[[coffee_club.Images], messages.TemplateContent] = coffee_club.card_content,
    on_step: Callable[[str], None] = lambda step: None,
) -> Club:
    """Makes a club on a running service, by default with its own card, and an authority of its own.
    PassmillError or DemoFailed when it will not have it."""
    now = datetime.now(UTC)
    if authority is None:
        on_step(MAKING_AUTHORITY)
        authority = ThrowawayAuthority(now=now)
    certificate = authority.issue_pass_certificate(
        now=now,
        pass_type_identifier=coffee_club.PASS_TYPE_IDENTIFIER,
        team_identifier=coffee_club.TEAM_IDENTIFIER,
        organization=coffee_club.ORGANIZATION,
    )
    with AdminClient(admin_address, operator_key) as admin:
        on_step("making a tenant with two API keys")
        tenant_id = admin.create_tenant(coffee_club.ORGANIZATION).tenant_id
        owner = admin.create_api_key(
            "owner",
            tenant_id=tenant_id,
            scopes=[messages.API_SCOPE_ADMIN, messages.API_SCOPE_READ],
        )
        issuer = admin.create_api_key(
            "campaign",
            tenant_id=tenant_id,
            scopes=[messages.API_SCOPE_ISSUE, messages.API_SCOPE_READ],
        )
        on_step("uploading the signing identity as PKCS#12")
        password = secrets.token_urlsafe()
        admin.upload_signing_identity(
            messages.Pkcs12(content=certificate.pkcs12(password), password=password),
            intermediates=[authority.wwdr_pem],
            activate=True,
            tenant_id=tenant_id,
        )
    with Client(api_address, owner.secret_key) as client:
        template_id = publish_card(client, card, on_step)
    return Club(
        tenant_id=tenant_id,
        issue_key=issuer.secret_key,
        template_id=template_id,
        root_pem=authority.root_pem,
    )


def publish_card(
    client: Client,
    card: Callable[[coffee_club.Images], messages.TemplateContent],
    on_step: Callable[[str], None],
) -> str:
    """Makes the club's program and template and publishes it: the template's id."""
    on_step("drawing the card and uploading its nine images")
    assets = {
        (image.role, image.scale): client.upload_asset(image.file).asset_id
        for image in coffee_club.draw_images()
    }
    on_step("making the program and the template")
    program = client.create_program(
        coffee_club.ORGANIZATION, pass_type_identifier=coffee_club.PASS_TYPE_IDENTIFIER
    )
    made = client.create_template(
        program.program_id,
        display_name="Coffee club card",
        content=card(assets),
    )
    published = client.publish_template(made.template.template_id, etag=made.template.etag)
    if published.findings:
        told = "; ".join(f"{finding.path}: {finding.message}" for finding in published.findings)
        raise DemoFailed(f"The card's lint is not clean: {told}")
    on_step(f"published revision {published.revision.revision}; its lint found nothing")
    return made.template.template_id
