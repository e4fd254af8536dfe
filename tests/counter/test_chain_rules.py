"""What a chain may be, other revisions as looks, its end; and that the checks notice when what
decides a step is broken."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from passmill.domain.chains import ChainPlace
from passmill.domain.ids import PassId
from passmill.domain.offers import ChainId, OfferId
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.domain.templates import Slot, SlotType
from passmill.store import chains
from passmill.v1 import counter_service_pb2 as pb
from passmill.v1 import scan_pb2 as scans
from passmill.v1.chain_pb2 import Chain, ChainStep, StepCondition
from passmill.v1.counter_pb2 import Offer, UnitAmount
from tests.support.bundles import pass_json
from tests.support.counters import Counter, open_counter
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import meta, open_service
from tests.support.small_card import draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, REFUSED = scans.SCAN_OUTCOME_ACCEPTED, scans.SCAN_OUTCOME_REFUSED
MORE = Slot(name="voucher", type=SlotType.TEXT)


async def test_a_chain_is_as_it_was_set(counter: Counter) -> None:
    """All of a chain is kept and given again, its versions count its steps alone, an etag that is
    not the current one is refused, and an archived chain changes no more."""
    first = await counter.step("", next_values={"note": value("x"), "is_founder": value(True)})
    second = await counter.step(
        "museum",
        condition=StepCondition(
            after_previous_seconds=60,
            before_previous_seconds=3600,
            weekdays=[StepCondition.WEEKDAY_SUNDAY, StepCondition.WEEKDAY_MONDAY],
            from_minute=540,
            until_minute=1020,
            time_zone="America/New_York",
        ),
        next_revision=1,
    )
    made = await counter.set_chain(first, second)
    second.condition.weekdays.sort()
    assert list(made.steps) == [first, second]
    assert (made.version, made.state) == (1, Chain.STATE_ACTIVE)
    assert made.template_id == counter.club.template_id
    got = await counter.manage.GetChain(pb.GetChainRequest(chain_id=made.chain_id))
    assert got.chain == made
    listing = pb.ListChainsRequest(program_id=counter.club.program_id)
    assert list((await counter.manage.ListChains(listing)).chains) == [made]
    same = await counter.set_chain(first, second, chain_id=made.chain_id, etag=made.etag)
    assert same == made
    changed = await counter.set_chain(first, chain_id=made.chain_id, etag=made.etag)
    assert (changed.version, changed.etag) == (2, "v2")
    stale = await refused(counter.set_chain(first, second, chain_id=made.chain_id, etag=made.etag))
    assert stale.reason == "ETAG_MISMATCH"
    end = pb.ArchiveChainRequest(chain_id=made.chain_id, meta=meta())
    assert (await counter.manage.ArchiveChain(end)).chain.state == Chain.STATE_ARCHIVED
    assert not (await counter.manage.ListChains(listing)).chains
    over = await refused(counter.set_chain(first, chain_id=made.chain_id))
    assert over.reason == "INVALID_FIELD"


async def test_what_a_chain_cannot_be(counter: Counter) -> None:
    """Offers to other passes, of another chain, twice, archived; conditions and looks that cannot
    be: each is refused by the field that is wrong."""
    good = await counter.step("taxi")
    wide = await counter.add_offer(is_of_template=False)
    costly = await counter.add_offer(cost=UnitAmount(unit="points", amount=1))
    taken = await counter.step("hotel")
    await counter.set_chain(taken)
    later: dict[str, Any] = {"display_name": "x", "offer_id": good.offer_id}

    def second(**condition: Any) -> list[ChainStep]:
        return [first, ChainStep(**later, condition=StepCondition(**condition))]

    first = await counter.step("cafe")
    cases: list[tuple[list[ChainStep], str, str]] = [
        ([ChainStep(display_name="x", offer_id=wide.offer_id)], "offer_id", "INVALID_FIELD"),
        ([taken], "offer_id", "INVALID_FIELD"),
        ([good, good], "offer_id", "INVALID_FIELD"),
        (
            [ChainStep(display_name="x", offer_id=costly.offer_id, next_revision=1)],
            "next_revision",
            "INVALID_FIELD",
        ),
        (
            [ChainStep(**later, condition=StepCondition(after_previous_seconds=1))],
            "condition",
            "INVALID_FIELD",
        ),
        (
            second(after_previous_seconds=5, before_previous_seconds=5),
            "before_previous_seconds",
            "INVALID_FIELD",
        ),
        (second(from_minute=60), "time_zone", "INVALID_FIELD"),
        (second(from_minute=60, time_zone="Europe/Nowhere"), "time_zone", "INVALID_FIELD"),
        (second(from_minute=60, time_zone="Europe"), "time_zone", "INVALID_FIELD"),
        (second(from_minute=60, time_zone="/etc/passwd"), "time_zone", "INVALID_FIELD"),
        (
            second(from_minute=60, until_minute=60, time_zone="UTC"),
            "until_minute",
            "INVALID_FIELD",
        ),
        ([ChainStep(**later, next_values={"nosuch": value("x")})], "nosuch", "INVALID_VALUES"),
        ([ChainStep(**later, next_values={"points": value("x")})], "points", "INVALID_VALUES"),
    ]
    for steps, field, reason in cases:
        refusal = await refused(counter.set_chain(*steps))
        assert refusal.reason == reason, (field, refusal)
        assert field in str(refusal), (field, refusal)
    far = await refused(counter.set_chain(ChainStep(**later, next_revision=9)))
    assert far.reason == "REVISION_NOT_PUBLISHED"
    assert (await counter.set_chain(good)).version == 1


async def test_an_archived_chain(counter: Counter) -> None:
    """Nobody takes a step of a chain that is archived."""
    step = await counter.step("")
    chain = await counter.set_chain(step)
    end = pb.ArchiveChainRequest(chain_id=chain.chain_id, meta=meta())
    await counter.manage.ArchiveChain(end)
    issued = await counter.club.issue()
    answer = await counter.till.redeem(issued, Offer(offer_id=step.offer_id))
    assert (answer.outcome, answer.reason) == (REFUSED, scans.REFUSAL_REASON_OFFER_ENDED)


async def test_another_revision_as_look(counter: Counter) -> None:
    """A step may give a pass another revision with values of its own, and taking it back gives the
    one before, byte for byte; a pass whose values do not fit stays in its own."""
    club = counter.club
    required = Slot(name="voucher", type=SlotType.TEXT, required=True)
    await club.tenant.publish(club.template_id, small_card(MORE))
    await club.tenant.publish(club.template_id, small_card(required))
    step = await counter.step("", next_values={"voucher": value("A1")}, next_revision=2)
    unfit = await counter.step("", next_values={"note": value("on")}, next_revision=3)
    await counter.set_chain(step, unfit)
    issued = await club.issue(draft(note="hello"), revision=1)
    before = pass_json(await club.bundle(issued))
    used = await counter.till.redeem(issued, Offer(offer_id=step.offer_id))
    assert used.outcome == ACCEPTED
    now = await club.get(issued)
    assert (now.revision, now.values["voucher"].text) == (2, "A1")
    taken_back = await counter.till.reverse(used.redemption.redemption_id)
    assert taken_back.outcome == ACCEPTED
    assert pass_json(await club.bundle(issued)) == before
    assert (await club.get(issued)).revision == 1
    assert (await counter.till.redeem(issued, Offer(offer_id=step.offer_id))).outcome == ACCEPTED
    voucher = (await club.get(issued)).values["voucher"].text
    assert voucher == "A1"
    await club.update(issued, "values.voucher", wanted=type(issued)())
    moved = await counter.till.redeem(issued, Offer(offer_id=unfit.offer_id))
    assert moved.outcome == ACCEPTED
    now = await club.get(issued)
    assert (now.revision, now.values["note"].text) == (2, "on")


@pytest_asyncio.fixture(loop_scope="session")
async def scratch(database: Database) -> AsyncIterator[Counter]:
    """A counter on a database for this test alone."""
    async with open_service(database.url) as service:
        yield await open_counter(await service.add_club())


async def take(counter: Counter, at: ChainPlace, redemption: Redemption) -> bool:
    """Takes a step straight from the store, in a transaction of its own."""
    tenant = counter.club.tenant
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        taken = await chains.take_step(tx, at, redemption)
        await asyncio.sleep(0.01)  # others are about to take it too
        return taken


async def check_once(counter: Counter) -> None:
    """Many at once take each of two steps from where the pass was read to be: one has it. Of two
    steps only the latest goes back, and once."""
    chain = await counter.set_chain(await counter.step("taxi"), await counter.step("hotel"))
    tenant, issued = counter.club.tenant, await counter.club.issue()
    pass_id, chain_id = PassId(UUID(issued.pass_id)), ChainId(UUID(chain.chain_id))
    won = []
    for done in range(2):
        async with tenant.service.services.database.transaction(tenant.caller) as tx:
            at = (await chains.read_places(tx, [pass_id], [chain_id]))[pass_id][chain_id]
        assert (at.done, at.has_begun) == (done, done > 0)
        tries = [redemption(pass_id) for _ in range(8)]
        taken = await asyncio.gather(*(take(counter, at, each) for each in tries))
        assert sum(taken) == 1
        won.append(tries[taken.index(True)].redemption_id)
    for wanted, is_latest in ((won[0], False), (won[1], True), (won[1], False), (won[0], True)):
        async with tenant.service.services.database.transaction(tenant.caller) as tx:
            assert await chains.step_back(tx, wanted) is is_latest


def redemption(pass_id: PassId) -> Redemption:
    """A use of something by the pass."""
    now = datetime.now(UTC)
    return Redemption(
        redemption_id=RedemptionId(uuid4()),
        pass_id=pass_id,
        offer_id=OfferId(uuid4()),
        use_number=1,
        venue_id=None,
        scanner_id=None,
        key_id="test",
        staff="",
        scan_time=now,
        create_time=now,
        is_offline=False,
        cost=None,
    )


async def test_a_step_is_decided_by_its_row(scratch: Counter) -> None:
    """With the statements as they are the check holds."""
    await check_once(scratch)


@pytest.mark.parametrize(
    ("statement", "condition", "broken"),
    [
        (
            "_BEGIN",
            "DO NOTHING",
            "(tenant_id, pass_id, chain_id) DO UPDATE SET step = pass_chains.step + 1",
        ),
        (
            "_ADVANCE",
            "AND step = $7 AND redemption_id IS NOT DISTINCT FROM $8",
            "AND ($7 >= 0 OR $8::uuid IS NULL)",
        ),
        ("_STEP_BACK", "AND pc.redemption_id = $2", ""),
    ],
)
async def test_without_the_conditions_the_check_notices(
    scratch: Counter,
    statement: str,
    condition: str,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: without what decides it a step is taken twice, or taken back that has passed,
    unless the table's own check sees it."""
    before: str = getattr(chains, statement)
    assert condition in before
    monkeypatch.setattr(chains, statement, before.replace(condition, broken))
    with pytest.raises((AssertionError, asyncpg.CheckViolationError)):
        await check_once(scratch)
