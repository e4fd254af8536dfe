"""What decides a use, checked where it is decided; and that the checks notice when it is broken."""

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from passmill.domain.ids import PassId
from passmill.domain.offers import OfferId
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.store import redemptions
from passmill.v1 import counter_service_pb2
from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1.counter_pb2 import Offer
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.counters import Counter, open_counter
from tests.support.postgres import Database
from tests.support.service import by_id, meta, open_service

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def scratch(database: Database) -> AsyncIterator[tuple[Counter, Database]]:
    """A counter on a database for this test alone."""
    async with open_service(database.url) as service:
        yield await open_counter(await service.add_club()), database


async def take(counter: Counter, wallet_pass: Pass, offer: Offer) -> Redemption | None:
    """Takes a use straight from the store, in a transaction of its own."""
    tenant = counter.club.tenant
    now = datetime.now(UTC)
    wanted = Redemption(
        redemption_id=RedemptionId(uuid4()),
        pass_id=PassId(UUID(wallet_pass.pass_id)),
        offer_id=OfferId(UUID(offer.offer_id)),
        use_number=0,
        venue_id=None,
        scanner_id=None,
        key_id="test",
        staff="",
        scan_time=now,
        create_time=now,
        is_offline=False,
        cost=None,
    )
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        taken = await redemptions.take_use(tx, wanted)
        await asyncio.sleep(0.01)  # others are about to take it too
        return taken


async def check_once(counter: Counter) -> None:
    """Many at once over several passes: as many uses as the offer has, each number once."""
    offer = await counter.add_offer(max_uses=2)
    passes = [await counter.club.issue() for _ in range(5)]
    await asyncio.gather(*(take(counter, each, offer) for each in passes for _ in range(8)))
    for _ in range(2):  # a use that was taken meanwhile: another may be free
        for each in passes:
            await take(counter, each, offer)
    rows = await counter.club.tenant.fetch(
        "SELECT pass_id, use_number FROM redemptions WHERE reverse_time IS NULL"
    )
    found = Tally((str(row["pass_id"]), row["use_number"]) for row in rows)
    assert found == {(each.pass_id, number): 1 for each in passes for number in (1, 2)}


async def check_in_force(counter: Counter) -> None:
    """No use of an archived offer, of one for another venue, or with a voided pass."""
    archived, elsewhere = (
        await counter.add_offer(),
        await counter.add_offer(venue_ids=[counter.venue.venue_id]),
    )
    request = counter_service_pb2.ArchiveOfferRequest(offer_id=archived.offer_id, meta=meta())
    await counter.manage.ArchiveOffer(request)
    issued = await counter.club.issue()
    assert await take(counter, issued, archived) is None
    assert await take(counter, issued, elsewhere) is None
    plain = await counter.add_offer()
    await counter.club.passes.VoidPass(passes_pb2.VoidPassRequest(ref=by_id(issued), meta=meta()))
    assert await take(counter, issued, plain) is None


async def test_a_use_is_decided_by_its_row(scratch: tuple[Counter, Database]) -> None:
    """With the index and the conditions as they are, both checks hold."""
    counter, _ = scratch
    await check_once(counter)
    await check_in_force(counter)


async def test_without_the_index_the_check_notices(scratch: tuple[Counter, Database]) -> None:
    """The control: without the unique index a use is had twice."""
    counter, made = scratch
    owner = await asyncpg.connect(made.owner_url)
    await owner.execute("DROP INDEX redemptions_once")
    await owner.close()
    with pytest.raises(AssertionError):
        await check_once(counter)


@pytest.mark.parametrize(
    "condition",
    [
        "o.state = 1 AND p.state = 1",
        "o.state = 1",
        "p.state = 1",
        "(o.venue_ids = '{}' OR $5 = ANY(o.venue_ids))",
    ],
)
async def test_without_the_conditions_the_check_notices(
    scratch: tuple[Counter, Database], condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without a condition of the statement a use is had that is not in force."""
    statement = redemptions._TAKE_USE
    assert condition in statement
    monkeypatch.setattr(redemptions, "_TAKE_USE", statement.replace(condition, "true"))
    counter, _ = scratch
    with pytest.raises(AssertionError):
        await check_in_force(counter)
