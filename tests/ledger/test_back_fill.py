"""BatchPostEntries and StreamEntries: what tills noted while there was no service."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.balances import (
    BURN,
    EARN,
    Till,
    keyed,
    open_balance_worker,
    post_request,
    refusal,
)
from tests.support.bundles import verify
from tests.support.refusals import refusal_of_status
from tests.support.service import authority
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def send(till: Till, *entries: pb.KeyedEntry) -> Sequence[pb.EntryOutcome]:
    """Posts entries in one batch."""
    request = pb.BatchPostEntriesRequest(entries=entries)
    return (await till.stub.BatchPostEntries(request)).outcomes


async def stream(till: Till, *messages: pb.StreamEntriesRequest) -> list[pb.StreamEntriesResponse]:
    """Sends all messages without waiting; gives all answers."""

    async def requests() -> AsyncIterator[pb.StreamEntriesRequest]:
        for message in messages:
            yield message

    return [answer async for answer in till.stub.StreamEntries(requests())]


async def test_each_entry_by_itself(till: Till) -> None:
    """Entries of a batch are posted in its order, each with its own time; one that is refused names
    its reason and leaves the others."""
    issued, other = await till.issue(), await till.issue()
    then = Timestamp()
    then.FromDatetime(datetime.now(UTC) - timedelta(hours=3))
    outcomes = await send(
        till,
        keyed(issued, 5, BURN),
        keyed(issued, 10, occur_time=then, reference="R1"),
        keyed(other, 7),
        keyed(issued, 4, BURN),
        keyed(issued, 7, BURN),
        keyed(PassRef(pass_id=str(uuid.uuid4())), 1),
        keyed(PassRef(reference_id="no such"), 1),
        keyed(issued, 1, unit="miles"),
    )
    assert [refusal(each) for each in outcomes] == [
        "INSUFFICIENT_BALANCE",
        "",
        "",
        "",
        "INSUFFICIENT_BALANCE",
        "UNKNOWN_PASS",
        "UNKNOWN_PASS",
        "UNKNOWN_UNIT",
    ]
    assert outcomes[1].entry.occur_time == then
    assert outcomes[1].entry.create_time != then
    assert outcomes[3].entry.balance_after == 6
    assert (await till.points(other)).balance == 7


async def test_a_batch_sent_again_posts_nothing(till: Till) -> None:
    """Sent again, also twenty times at once and overlapping, a batch gives the same entries, marked
    as repeated; another entry under a key is refused."""
    passes = [await till.issue() for _ in range(4)]
    entries = [keyed(passes[at % 4], at + 1) for at in range(40)]
    first = await send(till, *entries)
    answers = await asyncio.gather(
        *(send(till, *entries[at : at + 20]) for at in range(20)), send(till, *reversed(entries))
    )
    by_key = {each.request_id: each.entry for each in first}
    for answer in answers:
        assert all(each.is_repeated for each in answer)
        assert all(each.entry == by_key[each.request_id] for each in answer)
    [wrong] = await send(till, keyed(passes[0], 99, key=entries[0].request_id))
    assert refusal(wrong) == "REQUEST_ID_REUSED"
    assert sum([(await till.points(each)).balance for each in passes]) == sum(range(1, 41))


async def test_a_key_is_one_in_every_way(till: Till) -> None:
    """What was posted singly and noted down because no answer came is not posted again by a batch,
    nor the other way round, even when the pass was voided since."""
    issued = await till.issue()
    await till.post(issued, 100)
    single = post_request(issued, 30, BURN)
    first = await till.stub.PostEntry(single)
    [again] = await send(till, keyed(issued, 30, BURN, key=single.meta.request_id))
    assert (again.is_repeated, again.entry) == (True, first.entry)
    noted = keyed(issued, 20, BURN)
    await send(till, noted)
    await void(till.club, issued, reason="lost")
    late = await till.stub.PostEntry(post_request(issued, 20, BURN, key=noted.request_id))
    assert (refusal(late), late.entry.amount) == ("", -20)
    assert (await till.points(issued)).balance == 50


async def test_passes_show_a_batch_a_moment_later(till: Till) -> None:
    """A worker brings the passes up to their balances, signed, with a push; done twice, or when
    there is nothing new, it changes nothing. Passes voided since have their entries too."""
    passes = [await till.issue() for _ in range(5)]
    await void(till.club, passes[0], reason="lost")
    await send(till, *(keyed(each, 10 + at) for at, each in enumerate(passes)))
    async with open_balance_worker(till.club.tenant.service, till.club) as worker:
        assert await worker.run() == 1
        for at, each in enumerate(passes):
            assert await till.shown(each) == 10 + at
            verify(await till.club.bundle(each), authority())
        versions = [(await till.club.get(each)).version for each in passes]
        await send(till, keyed(passes[1], 5), keyed(passes[1], 5, BURN))
        await worker.run()
        assert [(await till.club.get(each)).version for each in passes] == versions


async def test_posts_while_a_worker_shows(till: Till) -> None:
    """While entries come singly and in batches a worker shows balances all the time; in the end
    each pass shows the sum of its entries."""
    passes = [await till.issue() for _ in range(3)]
    service = till.club.tenant.service
    async with open_balance_worker(service, till.club) as worker, asyncio.TaskGroup() as tasks:
        posting = [
            tasks.create_task(till.post(each, 1) if at % 2 else send(till, keyed(each, 1)))
            for at in range(10)
            for each in passes
        ]
        while not all(task.done() for task in posting):
            await worker.run()
            await asyncio.sleep(0)
        await asyncio.gather(*posting)
        await worker.run()
        assert [await till.shown(each) for each in passes] == [10, 10, 10]


async def test_a_stream_of_entries(till: Till) -> None:
    """Messages are acknowledged in order, each with what came of its entries; the same stream again
    repeats them all."""
    issued = await till.issue()
    messages = [
        pb.StreamEntriesRequest(sequence=at + 1, entries=[keyed(issued, 1) for _ in range(50)])
        for at in range(5)
    ]
    answers = await stream(till, *messages)
    assert [each.acknowledged_sequence for each in answers] == [1, 2, 3, 4, 5]
    assert [each.request_id for each in answers[2].outcomes] == [
        each.request_id for each in messages[2].entries
    ]
    again = await stream(till, *messages)
    assert all(each.is_repeated for answer in again for each in answer.outcomes)
    assert (await till.points(issued)).balance == 250


@pytest.mark.parametrize("sequences", [[2], [1, 3], [1, 1]])
async def test_a_stream_out_of_order(till: Till, sequences: list[int]) -> None:
    """A message that is not the next one is refused as an answer, which says how far the stream
    came, and the call ends."""
    issued = await till.issue()
    messages = [
        pb.StreamEntriesRequest(sequence=each, entries=[keyed(issued, 1, EARN)])
        for each in sequences
    ]
    answers = await stream(till, *messages)
    assert refusal_of_status(answers[-1].error).reason == "INVALID_FIELD"
    assert answers[-1].acknowledged_sequence == len(sequences) - 1
    assert (await till.points(issued)).balance == len(sequences) - 1
