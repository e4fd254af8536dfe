"""The sweeper: what killed processes left unsigned is signed, whatever stands in the way."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import verify
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import (
    PASS_TYPE,
    TEAM,
    Club,
    Service,
    SetClock,
    authority,
    open_service,
)
from tests.support.small_card import draft, small_card

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG_AGO = timedelta(hours=1)


async def unsign(club: Club, passes: Sequence[Pass], *, age: timedelta = LONG_AGO) -> None:
    """Leaves passes as a process does that died between commit and signature, so long ago."""
    await club.tenant.fetch(
        """
        WITH unsigned AS (
            UPDATE passes SET signature = NULL WHERE pass_id = ANY($1)
            RETURNING tenant_id, pass_id
        )
        INSERT INTO signing_intents (tenant_id, pass_id, create_time)
        SELECT tenant_id, pass_id, $2 FROM unsigned
        """,
        [uuid.UUID(each.pass_id) for each in passes],
        datetime.now(UTC) - age,
    )


async def unsigned_count(club: Club) -> tuple[int, int]:
    """How many passes lack a signature, and how many intents there are."""
    rows = await club.tenant.fetch("SELECT FROM passes WHERE signature IS NULL")
    return len(rows), await club.tenant.count("signing_intents")


async def sweep_until(club: Club, wanted: tuple[int, int]) -> None:
    """Sweeps until the club has so many unsigned passes and intents; the service's own sweeper may
    have taken on some of them."""
    async with asyncio.timeout(30):
        while await unsigned_count(club) != wanted:
            await club.tenant.service.services.finish_signing.sweep()


async def issue_many(club: Club, count: int) -> list[Pass]:
    """Issues passes."""
    request = club.batch_request([draft(f"Member {number}") for number in range(count)])
    results = (await club.passes.BatchIssuePasses(request)).results
    return [each.wallet_pass for each in results]


async def test_what_was_left_is_signed(database: Database) -> None:
    """One sweep signs what several tenants' dead processes left, to the bytes it would have had."""
    async with open_service(database.url) as service:
        clubs = [await service.add_club() for _ in range(3)]
        left = {club.tenant.tenant_id: await issue_many(club, 7) for club in clubs}
        bundles = {
            each.pass_id: await club.bundle(each)
            for club in clubs
            for each in left[club.tenant.tenant_id]
        }
        for club in clubs:
            await unsign(club, left[club.tenant.tenant_id])
        for club in clubs:
            await sweep_until(club, (0, 0))
            for each in left[club.tenant.tenant_id]:
                assert await club.bundle(each) == bundles[each.pass_id]


async def test_what_may_be_under_way_is_left_alone(database: Database) -> None:
    """A sweep touches only intents older than any living process takes."""
    clock = SetClock()
    async with open_service(database.url, clock=clock) as service:
        club = await service.add_club()
        passes = await issue_many(club, 2)
        await unsign(club, passes, age=timedelta(seconds=5))
        await service.services.finish_signing.sweep()
        assert await unsigned_count(club) == (2, 2)
        clock.advance(timedelta(minutes=2))
        await sweep_until(club, (0, 0))


async def test_a_change_left_unsigned_is_signed(database: Database) -> None:
    """A changed pass left unsigned gets the signature of its newest content."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        issued = await club.issue()
        await club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
        bundle = await club.bundle(issued)
        await unsign(club, [issued])
        await sweep_until(club, (0, 0))
        assert await club.bundle(issued) == bundle


async def test_a_stray_intent_ends(database: Database) -> None:
    """An intent of a pass that is signed already ends, and the pass stays as it is."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        issued = await club.issue()
        bundle = await club.bundle(issued)
        await club.tenant.fetch(
            "INSERT INTO signing_intents SELECT tenant_id, pass_id, $1 FROM passes",
            datetime.now(UTC) - LONG_AGO,
        )
        await sweep_until(club, (0, 0))
        assert await club.bundle(issued) == bundle


async def test_what_would_render_otherwise_gets_a_new_version(database: Database) -> None:
    """A pass left unsigned by software that rendered it otherwise is signed as it renders now, as
    its next version."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        issued = await club.issue()
        await unsign(club, [issued])
        await club.tenant.fetch("UPDATE passes SET digest = set_byte(digest, 0, 0)")
        await sweep_until(club, (0, 0))
        assert (await club.get(issued)).version == 2
        verify(await club.bundle(issued), authority())


async def test_a_broken_row_does_not_hold_up_the_rest(database: Database) -> None:
    """A pass whose row nobody can read is left behind; all others are signed, and the service lives
    on."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        passes = await issue_many(club, 5)
        await unsign(club, passes)
        await club.tenant.fetch(
            "UPDATE passes SET slot_values = '{\"points\": [1]}' WHERE pass_id = $1",
            uuid.UUID(passes[0].pass_id),
        )
        await sweep_until(club, (1, 1))
        verify(await club.bundle(await club.issue()), authority())


async def test_what_cannot_be_signed_does_not_starve_others(database: Database) -> None:
    """More passes of an expired certificate than a sweep takes, all older, do not keep another
    tenant's pass from being signed; with a current certificate they are signed too."""
    clock = SetClock()
    short = authority().issue_pass_certificate(
        now=clock.now(),
        pass_type_identifier=PASS_TYPE,
        team_identifier=TEAM,
        validity=timedelta(days=2),
    )
    async with open_service(database.url, clock=clock) as service:
        tenant = await service.add_tenant()
        await tenant.add_identity(short)
        program_id = await tenant.add_program()
        template_id = await tenant.add_template(program_id, small_card())
        await tenant.publish(template_id)
        expired = Club(tenant=tenant, program_id=program_id, template_id=template_id)
        hopeless = [*await issue_many(expired, 500), *await issue_many(expired, 20)]
        other = await service.add_club()
        hopeful = await other.issue()
        clock.advance(timedelta(days=3))
        await unsign(expired, hopeless)
        await unsign(other, [hopeful], age=timedelta(minutes=1))
        await sweep_until(other, (0, 0))
        assert await unsigned_count(expired) == (520, 520)
        current = authority().issue_pass_certificate(
            now=clock.now(), pass_type_identifier=PASS_TYPE, team_identifier=TEAM
        )
        await tenant.add_identity(current)
        clock.advance(timedelta(minutes=2))
        await sweep_until(expired, (0, 0))
        verify(await expired.bundle(hopeless[-1]), authority())


async def test_several_sweepers_do_not_disturb_each_other(database: Database) -> None:
    """Three processes that sweep at once, while others ask for the same bundles, sign each pass to
    the same bytes and leave nothing."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_service(database.url))
        others = [
            await stack.enter_async_context(open_service(database.url, settings=first.settings))
            for _ in range(2)
        ]
        club = await first.add_club()
        passes = await issue_many(club, 40)
        bundles = [await club.bundle(each) for each in passes]
        await unsign(club, passes)
        found, *_ = await asyncio.gather(
            asyncio.gather(*(club.bundle(each) for each in passes)),
            *(service.services.finish_signing.sweep() for service in (first, *others)),
        )
        assert found == bundles
        await sweep_until(club, (0, 0))
        assert [await club.bundle(each) for each in passes] == bundles


async def test_the_sweeper_runs_by_itself(rowing_club: Club) -> None:
    """A running service sweeps without being told."""
    passes = await issue_many(rowing_club, 3)
    await unsign(rowing_club, passes)
    async with asyncio.timeout(30):
        while await unsigned_count(rowing_club) != (0, 0):  # noqa: ASYNC110 - rows tell no event
            await asyncio.sleep(0.1)


async def test_a_server_that_takes_no_writes(database: Database) -> None:
    """While the database is read-only, as during a failover, reads are answered, changes are told
    to come again, and the service lives on."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        issued = await club.issue()
        await alter(service, database, "SET default_transaction_read_only = on")
        refusal = await refused(club.passes.IssuePass(club.issue_request()))
        assert (refusal.reason, refusal.retry_after is None) == ("UNAVAILABLE", False)
        assert (await club.get(issued)).pass_id == issued.pass_id
        verify(await club.bundle(issued), authority())
        await alter(service, database, "RESET default_transaction_read_only")
        await club.issue()


async def alter(service: Service, database: Database, what: str) -> None:
    """Changes the database's settings, and ends the connections that have the old ones."""
    owner = await asyncpg.connect(
        database.owner_url, server_settings={"default_transaction_read_only": "off"}
    )
    await owner.execute(f'ALTER DATABASE "{database.name}" {what}')
    await owner.close()
    application = await asyncpg.connect(database.url)
    await application.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    await application.close()
    # Each of the service's connections has noticed when all of them answer again at once.
    pings = [service.services.database.ping] * service.settings.database.max_connections
    while any(await asyncio.gather(*(ping() for ping in pings), return_exceptions=True)):
        pass
