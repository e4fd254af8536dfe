"""Recipients into a stream through connections that break, and feeds that go on behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import google_crc32c
import grpc
import pytest

from passmill_client import AsyncClient, Client, PassmillError, Recipient, messages, pass_draft
from tests.client.scripted_service import reason

KEY = "pmk_canary"
STREAM = messages.RecipientStream(stream_id="s1", writer_epoch=3)


@dataclass(slots=True, kw_only=True)
class ScriptedStreams(grpc.GenericRpcHandler):
    """Keeps a recipient stream as the protocol says, until `interrupt` says otherwise: it is called
    before each answer with how many chunks the call has brought, and may end the call."""

    interrupt: Callable[[int, grpc.ServicerContext], None] = lambda count, context: None
    kept: list[Recipient] = field(default_factory=list)
    calls: int = 0
    deadlines: list[float] = field(default_factory=list)
    address: str = ""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Takes the three streaming methods."""
        method = handler_call_details.method.rsplit("/", 1)[-1]
        if method == "AppendRecipients":
            return grpc.stream_stream_rpc_method_handler(self._append)
        if method == "ExportResults":
            return grpc.unary_stream_rpc_method_handler(self._export)
        return grpc.unary_stream_rpc_method_handler(self._watch)

    def _append(self, contents: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self.calls += 1
        self.deadlines.append(context.time_remaining())
        for count, content in enumerate(contents):
            chunk = messages.AppendRecipientsRequest.FromString(content).chunk
            answer = messages.AppendRecipientsResponse()
            assert (chunk.stream_id, chunk.writer_epoch) == ("s1", 3)
            serialized = b"".join(
                each.SerializeToString(deterministic=True) for each in chunk.recipients
            )
            assert chunk.crc32c == google_crc32c.value(serialized)
            known = len(self.kept) - chunk.offset
            if known < 0:
                answer.error.status.code = 11
                answer.error.status.details.add().Pack(reason("OFFSET_GAP"))
            else:
                self.kept.extend(chunk.recipients[known:])
                answer.ack.next_offset = len(self.kept)
                answer.ack.duplicate_count = min(known, len(chunk.recipients))
            self.interrupt(count, context)
            yield answer.SerializeToString()

    def _export(self, content: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.calls += 1
        request = messages.ExportResultsRequest.FromString(content)
        first = request.after.offset + 1 if request.HasField("after") else 0
        for count, offset in enumerate(range(first, 10, 2)):
            self.interrupt(count, context)
            results = [
                messages.RecipientResult(stream_id="s1", offset=place)
                for place in (offset, offset + 1)
            ]
            yield messages.ExportResultsResponse(results=results).SerializeToString()

    def _watch(self, content: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.calls += 1
        for count in range(3):
            self.interrupt(count, context)
            campaign = messages.Campaign(state=messages.Campaign.STATE_RUNNING)
            yield messages.WatchCampaignResponse(campaign=campaign).SerializeToString()


@contextmanager
def serve(interrupt: Callable[[int, grpc.ServicerContext], None]) -> Iterator[ScriptedStreams]:
    """A running service."""
    service = ScriptedStreams(interrupt=interrupt)
    with ThreadPoolExecutor(16) as threads:
        server = grpc.server(threads, handlers=[service])
        service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield service
        server.stop(grace=None).wait()


def recipients(count: int) -> Iterator[Recipient]:
    """Distinct recipients, with values that have an order only when serialized with one."""
    for number in range(count):
        draft = pass_draft(
            name=f"Zoë {number}", values={"points": number, "tier": "Gold", "balance": number}
        )
        yield Recipient(external_id=f"M{number}", draft=draft)


def nothing(count: int, context: grpc.ServicerContext) -> None:
    """Does not interrupt."""


async def test_all_recipients_are_kept_once_in_order_with_checksums() -> None:
    """Both clients send every recipient once, in chunks of the size wanted, with the checksum that
    the protocol asks for and a deadline; acknowledgements come in order."""
    wanted = list(recipients(1010))
    with serve(nothing) as service:
        with Client(service.address, KEY) as client:
            acks = list(client.append_recipients(STREAM, wanted, chunk_size=100))
        assert service.kept == wanted
        assert [ack.next_offset for ack in acks] == [*range(100, 1001, 100), 1010]
        assert service.deadlines[0] is not None
        service.kept.clear()
        async with AsyncClient(service.address, KEY) as async_client:
            acks = [ack async for ack in async_client.append_recipients(STREAM, wanted)]
        assert service.kept == wanted
        assert [ack.next_offset for ack in acks] == [500, 1000, 1010]


async def test_a_broken_connection_sends_again_what_was_not_acknowledged() -> None:
    """A call that breaks before an answer is made again and loses and doubles nothing: what was
    kept before the break is acknowledged as a duplicate."""
    wanted = list(recipients(1000))

    def break_twice(count: int, context: grpc.ServicerContext) -> None:
        if service.calls < 3 and count == 4:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    with serve(break_twice) as service, Client(service.address, KEY) as client:
        acks = list(client.append_recipients(STREAM, wanted, chunk_size=50, window=4))
        assert service.kept == wanted
        assert service.calls == 3
        assert [ack.next_offset for ack in acks][-1] == 1000
        assert any(ack.duplicate_count for ack in acks)
    with serve(break_twice) as service:
        async with AsyncClient(service.address, KEY) as async_client:
            async for _ in async_client.append_recipients(STREAM, wanted, chunk_size=50, window=4):
                pass
        assert service.kept == wanted
        assert service.calls == 3


async def test_no_more_is_read_ahead_than_the_window() -> None:
    """Recipients are read as their turn comes, so that a file of any size fits in memory."""
    read = 0

    def counted() -> Iterator[Recipient]:
        nonlocal read
        for recipient in recipients(1000):
            read += 1
            yield recipient

    with serve(nothing) as service, Client(service.address, KEY) as client:
        for ack in client.append_recipients(STREAM, counted(), chunk_size=10, window=3):
            assert read <= ack.next_offset + 3 * 10


async def test_a_refusal_is_an_error_at_once() -> None:
    """What sending again does not mend ends the append with its reason, in both clients."""
    ahead = messages.RecipientStream(stream_id="s1", writer_epoch=3, next_offset=5)
    with serve(nothing) as service:
        with Client(service.address, KEY) as client, pytest.raises(PassmillError) as caught:
            list(client.append_recipients(ahead, recipients(10)))
        assert caught.value.reason == "OFFSET_GAP"
        async with AsyncClient(service.address, KEY) as async_client:
            with pytest.raises(PassmillError, match="OFFSET_GAP"):
                async for _ in async_client.append_recipients(ahead, recipients(10)):
                    pass
        assert service.calls == 2


def test_a_service_that_stays_away_is_given_up() -> None:
    """Without an acknowledgement for the time given the error comes out."""

    def gone(count: int, context: grpc.ServicerContext) -> None:
        # Not UNAVAILABLE: gRPC itself would try that for some seconds more.
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "gone")

    with (
        serve(gone) as service,
        Client(service.address, KEY) as client,
        pytest.raises(PassmillError, match="gone"),
    ):
        list(client.append_recipients(STREAM, recipients(10), timeout=0.5))


async def test_feeds_go_on_behind_what_was_received() -> None:
    """An export that breaks loses and doubles no result; a watch begins anew; both end when the
    service ends them."""

    def break_once(count: int, context: grpc.ServicerContext) -> None:
        if service.calls == 1 and count == 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    with serve(break_once) as service, Client(service.address, KEY) as client:
        assert [result.offset for result in client.export_results("c1")] == list(range(10))
        assert service.calls == 2
        service.calls = 0
        assert len(list(client.watch_campaign("c1"))) == 5
    with serve(break_once) as service:
        async with AsyncClient(service.address, KEY) as async_client:
            assert [result.offset async for result in async_client.export_results("c1")] == list(
                range(10)
            )
            service.calls = 0
            assert len([campaign async for campaign in async_client.watch_campaign("c1")]) == 5


def test_a_feed_that_is_refused_is_an_error() -> None:
    """A refusal is told with its reason and not tried again."""

    def refuse(count: int, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "no campaign")

    with (
        serve(refuse) as service,
        Client(service.address, KEY) as client,
        pytest.raises(PassmillError, match="no campaign"),
    ):
        list(client.watch_campaign("c1"))
    assert service.calls == 1


def test_chunks_are_bounded_in_bytes_too() -> None:
    """Large recipients make small chunks, which any service takes."""
    large = [
        Recipient(external_id=f"M{number}", draft=pass_draft(values={"note": "x" * 300_000}))
        for number in range(20)
    ]
    sizes: list[int] = []
    with serve(nothing) as service, Client(service.address, KEY) as client:
        for ack in client.append_recipients(STREAM, large):
            sizes.append(ack.next_offset)
        assert service.kept == large
    assert sizes == [4, 8, 12, 16, 20]
    for options in ({"window": 0}, {"chunk_size": 0}, {"chunk_size": 1001}):
        with pytest.raises(ValueError, match="window is at least 1"):
            next(client.append_recipients(STREAM, large, **options))
