"""What failed pushes say of tokens, and what they say of the pass type or of APNs."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from passmill.dev.fake_apns import Hang, Refuse, Rule, Script
from passmill.domain.registrations import RemoveReason
from passmill.store.push_jobs import PushPayload
from tests.fanout.conftest import Opener
from tests.fanout.test_outcomes import held_by, hurry, stopped, unknown
from tests.support.fan_out import WAIT_SECONDS, FanOut, until

NOT_FOR_TOPIC = Refuse(status=400, reason="DeviceTokenNotForTopic")
BAD = Refuse(status=400, reason="BadDeviceToken")
BUSY = Refuse(status=429, reason="TooManyRequests")
OUT = Refuse(status=503, reason="ServiceUnavailable")


async def asked(fan_out: FanOut, token: str, *, times: int) -> None:
    """Waits until this one was pushed so often, however it ended, and a little more."""
    await until(lambda: len(fan_out.apns.log.of_token(token)) >= times)
    await asyncio.sleep(0.05)


async def test_a_topic_that_goes_bad_between_single_changes_ends_nobody(
    open_worker_for: Opener,
) -> None:
    """Twelve phones that were reached a moment ago, and a certificate that then fits none: what is
    changed, one after the other, ends no registration, and is pushed when it fits again."""
    async with open_worker_for() as fan_out:
        held = [await held_by(fan_out, 1) for _ in range(12)]
        tokens = [token for _, [token] in held]
        for wallet_pass, _ in held:
            await fan_out.change(wallet_pass, 100)
        await fan_out.all_done()
        fan_out.apns.play(Script(rules=(Rule(answer=NOT_FOR_TOPIC),)))
        for wallet_pass, [token] in held:
            before = len(fan_out.apns.log.of_token(token))
            await fan_out.change(wallet_pass, 101)
            if not await stopped(fan_out):
                await asked(fan_out, token, times=before + 1)
        async with asyncio.timeout(WAIT_SECONDS):
            while not await stopped(fan_out):  # noqa: ASYNC110 - done by the worker
                await asyncio.sleep(0.05)
        assert await fan_out.end_reasons() == {None: 12}
        fan_out.apns.play(Script())
        await fan_out.all_pushed(tokens, times=2)
        await fan_out.all_done()
        assert await fan_out.end_reasons() == {None: 12}


async def test_what_was_accepted_before_proves_nothing(fan_out: FanOut) -> None:
    """900 phones that were reached, then four that are refused, one after the other, as their
    witnesses are: nobody can tell, so no registration ends and nothing stops; and they are pushed
    again until Apple takes them."""
    big = await fan_out.club.issue()
    await fan_out.register_many([UUID(big.pass_id)], each=900)
    held = [await held_by(fan_out, 1) for _ in range(4)]
    await fan_out.change(big, 100)
    await fan_out.all_done()
    fan_out.apns.play(Script(rules=(Rule(answer=BAD),)))
    for wallet_pass, [token] in held:
        await fan_out.change(wallet_pass, 101)
        await asked(fan_out, token, times=1)
    async with asyncio.timeout(WAIT_SECONDS):
        while await due_jobs(fan_out):  # noqa: ASYNC110 - done by the worker
            await asyncio.sleep(0.05)
    assert await fan_out.end_reasons() == {None: 904}
    assert await stopped(fan_out) == []
    fan_out.apns.play(Script())
    await fan_out.all_pushed([token for _, [token] in held])


async def due_jobs(fan_out: FanOut) -> int:
    """Push jobs that wait for nothing."""
    [row] = await fan_out.club.tenant.fetch(
        "SELECT count(*) FROM pgqueuer.pgqueuer"
        " WHERE entrypoint LIKE 'push%' AND execute_after <= now()"
    )
    return int(row[0])


async def rounds(fan_out: FanOut) -> int:
    """How often the push that is in the queue was made in vain."""
    rows = await fan_out.club.tenant.fetch(
        "SELECT payload FROM pgqueuer.pgqueuer WHERE entrypoint LIKE 'push%'"
    )
    return max(PushPayload.decode(row["payload"]).rounds for row in rows)


@pytest.mark.parametrize("answer", [Hang(), OUT], ids=["silent", "503"])
async def test_an_outage_counts_no_round(answer: Hang | Refuse, open_worker_for: Opener) -> None:
    """A change of one phone, while APNs does not serve it nor another that was reached before,
    waits as long as that takes: no push counts."""
    async with open_worker_for(deadline_seconds=1.0) as fan_out:
        other, _ = await held_by(fan_out, 1)
        await fan_out.change(other, 100)
        await fan_out.all_done()
        wallet_pass, [token] = await held_by(fan_out, 1)
        fan_out.apns.play(Script(rules=(Rule(answer=answer),)))
        await fan_out.change(wallet_pass, 100)
        async with asyncio.timeout(WAIT_SECONDS):
            while len(fan_out.apns.log.of_token(token)) <= 8:
                await hurry(fan_out)
        assert await rounds(fan_out) == 0
        fan_out.apns.play(Script())
        await hurry(fan_out)
        await fan_out.all_pushed([token])


@pytest.mark.parametrize("answer", [Hang(), OUT, BAD], ids=["silent", "503", "refused"])
@pytest.mark.parametrize("count", [1, 4])
async def test_where_nobody_can_tell_pushes_are_kept(
    count: int, answer: Hang | Refuse, open_worker_for: Opener
) -> None:
    """All phones of a topic, which has no other to ask, fail longer than a token alone may: their
    push is still there, and goes out when APNs serves them."""
    async with open_worker_for(deadline_seconds=1.0) as fan_out:
        wallet_pass, tokens = await held_by(fan_out, count)
        fan_out.apns.play(Script(rules=(Rule(answer=answer),)))
        await fan_out.change(wallet_pass, 100)
        async with asyncio.timeout(WAIT_SECONDS):
            while await rounds(fan_out) < 5:
                await hurry(fan_out)
        fan_out.apns.play(Script())
        async with asyncio.timeout(WAIT_SECONDS):
            while not all(fan_out.pushed()[token] for token in tokens):
                await hurry(fan_out)
        await fan_out.all_done()
        assert await fan_out.end_reasons() == {None: count}
        assert await stopped(fan_out) == []


@pytest.mark.parametrize("answer", [BUSY, OUT, Hang()], ids=["429", "503", "silent"])
async def test_an_unlucky_witness_stops_no_topic(
    answer: Hang | Refuse, open_worker_for: Opener, capfd: pytest.CaptureFixture[str]
) -> None:
    """Six tokens that Apple does not know, while it is too busy for the only phone that could show
    that the topic is good: nothing stops, and they end when it is not."""
    async with open_worker_for(deadline_seconds=1.0) as fan_out:
        good, [witness] = await held_by(fan_out, 1)
        await fan_out.change(good, 100)
        await fan_out.all_done()
        evil, junk = await held_by(fan_out, 6)
        bad = Rule(answer=BAD, tokens=frozenset(junk))
        fan_out.apns.play(Script(rules=(bad, Rule(answer=answer, tokens=frozenset({witness})))))
        await fan_out.change(evil, 100)
        async with asyncio.timeout(WAIT_SECONDS):
            while len(fan_out.apns.log.of_token(witness)) < 4:
                await hurry(fan_out)
        assert await fan_out.end_reasons() == {None: 7}
        fan_out.apns.play(unknown(junk))
        async with asyncio.timeout(WAIT_SECONDS):
            while await fan_out.jobs_left():
                await hurry(fan_out)
        assert await fan_out.end_reasons() == {RemoveReason.TOKEN_GONE: 6, None: 1}
    assert "push.topic_stopped" not in "".join(capfd.readouterr())


async def test_a_stopped_topic_is_tried_with_one_phone_after_the_other(
    open_worker_for: Opener,
) -> None:
    """A phone for which Apple blames the certificate stops the topic, and is not the one that each
    try asks: the others' pushes go on."""
    async with open_worker_for() as fan_out:
        held = [await held_by(fan_out, 1) for _ in range(4)]
        for wallet_pass, _ in held:
            await fan_out.change(wallet_pass, 100)
            await fan_out.all_done()
        odd = frozenset(held[0][1])
        refused = Refuse(status=403, reason="Forbidden")
        fan_out.apns.play(Script(rules=(Rule(answer=refused, tokens=odd),)))
        await fan_out.change(held[0][0], 101)
        async with asyncio.timeout(WAIT_SECONDS):
            while not await stopped(fan_out):  # noqa: ASYNC110 - done by the worker
                await asyncio.sleep(0.02)
        for wallet_pass, _ in held[1:]:
            await fan_out.change(wallet_pass, 101)
        await fan_out.all_pushed([token for _, [token] in held[1:]], times=2)
        assert await fan_out.end_reasons() == {None: 4}
