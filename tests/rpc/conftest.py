"""The program and template services for tests of this folder, and a coffee club in them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from passmill.dev.authority import ThrowawayAuthority
from tests.support.coffee_club import Club, add_club, add_identity
from tests.support.postgres import Database
from tests.support.template_api import Member, TemplateApi, open_template_api


@pytest.fixture(scope="session")
def authority() -> ThrowawayAuthority:
    """A certificate authority shaped like Apple's."""
    return ThrowawayAuthority(now=datetime.now(UTC))


@pytest.fixture
async def template_api(database: Database) -> AsyncIterator[TemplateApi]:
    """The services on this test's database."""
    async with open_template_api(database.url) as opened:
        yield opened


@pytest.fixture
async def member(template_api: TemplateApi) -> AsyncIterator[Member]:
    """A tenant's client with every scope."""
    async with template_api.member() as opened:
        yield opened


@pytest.fixture
async def club(member: Member) -> Club:
    """A coffee club without a signing identity."""
    return await add_club(member)


@pytest.fixture
async def signing_club(
    template_api: TemplateApi, club: Club, authority: ThrowawayAuthority
) -> Club:
    """A coffee club that can publish."""
    await add_identity(template_api, club.member, authority)
    return club
