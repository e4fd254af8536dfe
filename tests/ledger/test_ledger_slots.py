"""Slots that show the ledger show nothing else: neither updates nor campaigns write to them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from passmill.domain.templates import Slot, SlotType
from passmill.v1.balance_pb2 import Tier
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.balances import Till, open_balance_worker
from tests.support.refusals import refused
from tests.support.service import Service, update_request
from tests.support.shards import Row, ShardRunner, open_runner, rows_of
from tests.support.small_card import small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def runner(service: Service, till: Till) -> AsyncIterator[ShardRunner]:
    """Serves shards of campaigns."""
    await till.set_tiers(
        Tier(tier="gold", unit="points", at_least=100, slot="tier", slot_value="Gold")
    )
    async with open_runner(service, till.club) as opened:
        yield opened


def wanted(**values: int | str) -> Pass:
    """A pass that has these values."""
    return Pass(values={name: value(each) for name, each in values.items()})


@pytest.mark.parametrize(
    ("path", "values", "wrong"),
    [
        ("values.points", {"points": 500}, ["points"]),
        ("values.tier", {"tier": "Platinum"}, ["tier"]),
        ("values.tier", {}, ["tier"]),
        ("values", {"points": 500, "tier": "Platinum"}, ["points", "tier"]),
    ],
)
@pytest.mark.usefixtures("runner")
async def test_an_update_does_not_write_the_ledger(
    till: Till, path: str, values: dict[str, int | str], wrong: list[str]
) -> None:
    """UpdatePass with another value for a slot of the ledger is refused, names the slot and says
    where to post; nothing is changed."""
    issued = await till.issue()
    await till.post(issued, 120)
    before = await till.club.get(issued)
    refusal = await refused(
        till.club.passes.UpdatePass(update_request(issued, path, wanted=wanted(**values)))
    )
    assert refusal.reason == "INVALID_VALUES"
    assert list(refusal.fields) == [f'wallet_pass.values["{name}"]' for name in wrong]
    assert all("ledger" in each for each in refusal.fields.values())
    assert await till.club.get(issued) == before


@pytest.mark.usefixtures("runner")
async def test_an_update_of_all_else(till: Till) -> None:
    """Who gives all values anew may leave out those of the ledger, or give them as they are: they
    stay."""
    issued = await till.issue()
    await till.post(issued, 120)
    given: list[dict[str, int | str]] = [
        {"note": "a"},
        {"note": "b", "points": 120, "tier": "Gold"},
    ]
    for values in given:
        await till.club.update(issued, "values", wanted=wanted(**values))
        kept = {"points": value(120), "tier": value("Gold"), "note": value(values["note"])}
        assert dict((await till.club.get(issued)).values) == kept


async def test_campaigns_do_not_write_the_ledger(till: Till, runner: ShardRunner) -> None:
    """Of a campaign's recipients those with another value for a slot of the ledger fail; the others
    get theirs, and none shows anything but the ledger. So it is with a campaign's own values, and
    with notices."""
    passes = [await till.issue() for _ in range(3)]
    for issued in passes:
        await till.post(issued, 120)
    rows = [
        Row(pass_id=passes[0].pass_id, external_id="a", values={"points": 500}),
        Row(pass_id=passes[1].pass_id, external_id="b", values={"points": 120, "note": "b"}),
        Row(pass_id=passes[2].pass_id, external_id="c", values={"note": "c"}),
    ]
    served = await runner.change(await runner.update_action(), rows)
    assert (served.succeeded, served.reasons) == (2, {0: "INVALID_VALUES"})
    assert 'values["points"]' in served.failures[0].message
    for action in (
        await runner.update_action(tier="Platinum"),
        await runner.notify_action("tier", "Soon"),
    ):
        served = await runner.change(action, rows_of(passes))
        assert set(served.reasons.values()) == {"INVALID_VALUES"}
    for issued, note in zip(passes, (None, "b", "c"), strict=True):
        shown = dict((await till.club.get(issued)).values)
        expected = {"points": value(120), "tier": value("Gold")}
        assert shown == (expected if note is None else {**expected, "note": value(note)})


async def test_a_revision_with_a_slot_more(
    service: Service, till: Till, runner: ShardRunner
) -> None:
    """A revision that is rolled out shows of the ledger what is in it: what the pass showed stays,
    and a slot that it did not have shows its balance a moment later. So does a pass that an update
    moves. Done again nothing changes."""
    club = till.club
    passes = [await till.issue() for _ in range(3)]
    await till.set_unit("miles", slot="miles")
    for issued in passes:
        await till.post(issued, 120)
        await till.post(issued, 30, unit="miles")
    miles = Slot(name="miles", type=SlotType.INTEGER, default_value=1)
    await club.tenant.publish(club.template_id, small_card(miles))
    rows = [Row(pass_id=each.pass_id, external_id=each.pass_id) for each in passes[:2]]
    async with open_balance_worker(service, club) as worker:
        served = await runner.change(await runner.update_action(2), rows)
        assert served.succeeded == 2
        await club.update(passes[2], "revision", wanted=Pass(revision=2))
        await worker.run()
        for issued in passes:
            shown = [await till.shown(issued, slot) for slot in ("points", "miles", "tier")]
            assert shown == [120, 30, "Gold"]
        versions = [(await club.get(each)).version for each in passes]
        await runner.change(await runner.update_action(2), rows)
        assert await worker.run() == 0
        assert [(await club.get(each)).version for each in passes] == versions
