"""Issuing more passes than a batch holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from uuid import UUID

import grpc
import pytest
from google.protobuf.message import Message

from passmill_client import AsyncClient, Client, Pass, PassDraft, PassmillError, pass_draft
from tests.client.scripted_service import Received, batch_request, issue_all, reason, refuse, serve

KEY = "pmk_canary"
RUN = UUID("0192f0c1-2b3c-7d4e-8f50-617283940a1b")


def drafts(count: int, read: list[int] | None = None) -> Iterator[PassDraft]:
    """Drafts named by their place; `read` is told of each when it is read."""
    for place in range(count):
        if read is not None:
            read.append(place)
        yield pass_draft(name=str(place))


async def test_outcomes_come_in_order() -> None:
    """Whatever is done first, outcomes come in the drafts' order, a refused draft in its place."""

    def unevenly(call: Received, context: grpc.ServicerContext) -> Message:
        if len(service.received) % 3 == 1:
            threading.Event().wait(0.02)
        return issue_all(call, context)

    def with_a_bad_one() -> Iterator[PassDraft]:
        for place, draft in enumerate(drafts(23)):
            yield pass_draft(name="bad") if place == 11 else draft

    async def awaited() -> AsyncIterator[PassDraft]:
        for draft in with_a_bad_one():
            yield draft

    with serve(unevenly) as service:
        with Client(service.address, KEY) as client:
            found = list(client.issue_many("t1", with_a_bad_one(), batch_size=5, concurrency=3))
        async with AsyncClient(service.address, KEY) as async_client:
            found_async = [
                outcome
                async for outcome in async_client.issue_many(
                    "t1", awaited(), batch_size=5, concurrency=3
                )
            ]
    for outcomes in (found, found_async):
        assert [place for place, _ in outcomes] == list(range(23))
        for place, outcome in outcomes:
            if place == 11:
                assert isinstance(outcome, PassmillError)
                assert outcome.reason == "INVALID_VALUES"
            else:
                assert isinstance(outcome, Pass)
                assert outcome.holder.name == str(place)
    sizes = [len(batch_request(call).drafts) for call in service.received]
    assert sorted(sizes) == [3, 3, *[5] * 8]


async def test_a_batch_that_fails_is_told_for_each_of_its_drafts() -> None:
    """A batch refused as a whole gives its error for each draft; the others are issued."""

    def refuse_second(call: Received, context: grpc.ServicerContext) -> Message:
        if batch_request(call).drafts[0].holder.name == "2":
            refuse(context, grpc.StatusCode.NOT_FOUND, reason("NOT_FOUND"))
        return issue_all(call, context)

    with serve(refuse_second) as service:
        with Client(service.address, KEY) as client:
            found = list(client.issue_many("t1", drafts(6), batch_size=2))
        async with AsyncClient(service.address, KEY) as async_client:
            stream = async_client.issue_many("t1", drafts(6), batch_size=2)
            found_async = [outcome async for outcome in stream]
    for outcomes in (found, found_async):
        kinds = [type(outcome) for _, outcome in outcomes]
        assert kinds == [Pass, Pass, PassmillError, PassmillError, Pass, Pass]


async def test_drafts_are_read_no_faster_than_outcomes_are_taken() -> None:
    """However many recipients there are, no more are held than are under way."""
    with serve(issue_all) as service:
        with Client(service.address, KEY) as client:
            read: list[int] = []
            stream = client.issue_many("t1", drafts(1000, read), batch_size=10, concurrency=4)
            most = max(len(read) - place for place, _ in stream)
        assert len(read) == 1000
        assert most <= 40
        async with AsyncClient(service.address, KEY) as async_client:
            read = []
            most = 0
            async for place, _ in async_client.issue_many(
                "t1", drafts(1000, read), batch_size=10, concurrency=4
            ):
                most = max(most, len(read) - place)
        assert len(read) == 1000
        assert most <= 40


def test_a_run_is_repeated_with_the_same_request_ids() -> None:
    """The same run id, drafts and batch size give the same calls, so nothing is issued twice."""
    with serve(issue_all) as service, Client(service.address, KEY) as client:
        for run_id in (RUN, RUN, UUID(int=0)):
            assert (
                len(list(client.issue_many("t1", drafts(30), batch_size=10, run_id=run_id))) == 30
            )
    contents = [call.content for call in service.received]
    assert sorted(contents[:3]) == sorted(contents[3:6])
    ids = {batch_request(call).meta.request_id for call in service.received}
    assert len(ids) == 6


async def test_leaving_early_cancels_what_is_under_way() -> None:
    """Nobody waits, so the service is told: every batch under way is cancelled."""
    cancelled = threading.Semaphore(0)

    def hang_after_first(call: Received, context: grpc.ServicerContext) -> Message:
        if batch_request(call).drafts[0].holder.name != "0":
            done = threading.Event()
            assert context.add_callback(done.set)
            assert done.wait(30)
            cancelled.release()
        return issue_all(call, context)

    def all_are_cancelled() -> bool:
        return all(cancelled.acquire(timeout=30) for _ in range(3))

    with serve(hang_after_first) as service:
        with Client(service.address, KEY) as client:
            with closing(client.issue_many("t1", drafts(9), batch_size=1, concurrency=4)) as stream:
                assert next(stream)[0] == 0
                while len(service.received) < 4:
                    threading.Event().wait(0.01)
            assert all_are_cancelled()
        service.received.clear()
        async with AsyncClient(service.address, KEY) as async_client:
            async with aclosing(
                async_client.issue_many("t1", drafts(9), batch_size=1, concurrency=4)
            ) as async_stream:
                assert (await anext(async_stream))[0] == 0
                while len(service.received) < 4:  # noqa: ASYNC110 - another thread counts
                    await asyncio.sleep(0.01)
            assert await asyncio.to_thread(all_are_cancelled)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 501}, {"concurrency": 0}])
def test_impossible_options(options: dict[str, int]) -> None:
    """A batch that no service takes is refused before anything is sent."""
    with Client("127.0.0.1:1", KEY) as client, pytest.raises(ValueError, match="batch_size"):
        list(client.issue_many("t1", drafts(1), **options))  # type: ignore[arg-type]
