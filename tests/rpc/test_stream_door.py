"""The door before streams: what comes through it, what ends a stream, and what is left of one."""

import asyncio
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from passmill.domain.callers import Scope
from passmill.errors import AppError, Reason
from passmill.rpc.campaign_service import RULES, SERVICE
from passmill.rpc.door import MethodRule
from passmill.rpc.streams import Stream
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import Recipient
from tests.support.refusals import Refusal, refusal_of
from tests.support.stream_door import StreamDoor, open_stream_door

CANARY = "canary-51c2e0"
ACK = pb.AppendRecipientsResponse(ack=pb.AppendAck(next_offset=1))
CHUNK = pb.AppendRecipientsRequest(
    chunk=pb.RecipientChunk(stream_id="x", writer_epoch=1, recipients=[Recipient(external_id="1")])
)


async def acknowledge(stream: Stream) -> None:
    """Answers each message."""
    while await stream.receive() is not None:
        await stream.send(ACK)


async def tell_once(stream: Stream) -> None:
    """Sends one answer."""
    await stream.send(pb.WatchCampaignResponse())


class Endless:
    """Sends one answer and then waits for ever; knows how often that was cut short."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.ended = asyncio.Event()

    async def serve(self, stream: Stream) -> None:
        """One answer, and no more."""
        await stream.send(pb.WatchCampaignResponse())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended.set()


async def read_on(call: Any) -> None:
    """Reads a stream to its end."""
    while await call.read() is not grpc.aio.EOF:
        pass


async def refused(call: Any) -> Refusal:
    """How a stream ends that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read_on(call)
    return refusal_of(caught.value)


async def in_flight(door: StreamDoor, method: str) -> float:
    """Streams at work, once the loop has ended what was ending."""
    for _ in range(200):
        if not door.sample("passmill_rpc_in_flight", method):
            break
        await asyncio.sleep(0.005)
    return door.sample("passmill_rpc_in_flight", method)


async def test_messages_go_both_ways() -> None:
    """Each message is answered in its order; the end of the messages ends the stream, which is
    counted and logged once, with how many went each way."""
    with capture_logs() as logs:
        async with open_stream_door(acknowledge) as door:
            call = door.append()
            for _ in range(3):
                await call.write(CHUNK.SerializeToString())
                assert pb.AppendRecipientsResponse.FromString(await call.read()) == ACK
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
            assert await in_flight(door, "AppendRecipients") == 0
            handled = "passmill_rpc_handled_total"
            assert door.sample(handled, "AppendRecipients", code="OK") == 1
    [line] = [entry for entry in logs if entry["event"] == "rpc.handled"]
    assert (line["method"], line["code"]) == ("CampaignService/AppendRecipients", "OK")
    assert (line["received"], line["sent"], line["key_id"]) == (3, 3, "operator")


@pytest.mark.parametrize(
    "content",
    [b"\x0a\xff\xff", b"", pb.WatchCampaignRequest().SerializeToString()],
    ids=["no message", "empty", "against a rule"],
)
async def test_a_request_that_is_none_is_refused(content: bytes) -> None:
    """The request of a server stream is checked as any other: nothing is served for a bad one."""
    async with open_stream_door(tell_once) as door:
        assert (await refused(door.watch(content=content))).reason == "INVALID_FIELD"


async def test_every_message_is_checked() -> None:
    """A message that breaks a rule, after good ones that were answered, is refused by name; those
    before stay answered."""
    async with open_stream_door(acknowledge) as door:
        call = door.append()
        await call.write(CHUNK.SerializeToString())
        assert pb.AppendRecipientsResponse.FromString(await call.read()) == ACK
        await call.write(
            pb.AppendRecipientsRequest(chunk=pb.RecipientChunk(stream_id="x")).SerializeToString()
        )
        refusal = await refused(call)
        assert refusal.reason == "INVALID_FIELD"
        assert set(refusal.fields) == {"chunk.writer_epoch", "chunk.recipients"}


@pytest.mark.parametrize("error", [ValueError(CANARY), ExceptionGroup("", [KeyError(CANARY)])])
async def test_a_fault_in_a_stream_is_told_by_a_number(error: Exception) -> None:
    """What goes wrong inside ends the stream with INTERNAL and an incident number, after what was
    sent before; the log has the error."""

    async def fail(stream: Stream) -> None:
        await stream.send(pb.WatchCampaignResponse())
        raise error

    with capture_logs() as logs:
        async with open_stream_door(fail) as door:
            call = door.watch()
            assert await call.read() == b""
            refusal = await refused(call)
    assert refusal.reason == "INTERNAL"
    assert CANARY.encode() not in refusal.content
    [failed] = [entry for entry in logs if entry["event"] == "rpc.failed"]
    assert (failed["incident"], failed["exc_info"]) == (refusal.metadata["incident"], error)


async def test_an_error_may_be_an_answer() -> None:
    """An error that is sent as an answer is counted as one that ends a call; a fault among them has
    an incident number, too."""

    async def tell(stream: Stream) -> None:
        for reason in (Reason.OFFSET_GAP, Reason.INTERNAL):
            status = stream.told(AppError(reason=reason, message="It went wrong."))
            await stream.send(pb.AppendRecipientsResponse(error=pb.AppendError(status=status)))

    async with open_stream_door(tell) as door:
        call = door.append()
        answers = [pb.AppendRecipientsResponse.FromString(each) async for each in call]
        refusals = "passmill_refusals_total"
        for reason in ("OFFSET_GAP", "INTERNAL"):
            assert door.registry.get_sample_value(refusals, {"reason": reason}) == 1
    assert [each.error.status.code for each in answers] == [11, 13]
    assert "incident" in answers[1].error.status.message


async def test_a_caller_that_hangs_up_ends_the_stream() -> None:
    """When the caller cancels, the servicer is cancelled, and counted as that."""
    endless = Endless()
    async with open_stream_door(endless.serve) as door:
        call = door.watch()
        assert await call.read() == b""
        call.cancel()
        await asyncio.wait_for(endless.ended.wait(), 10)
        assert endless.cancelled == 1
        assert await in_flight(door, "WatchCampaign") == 0
        assert door.sample("passmill_rpc_handled_total", "WatchCampaign", code="CANCELLED") == 1


async def test_a_stream_needs_no_deadline_and_keeps_one() -> None:
    """Without a deadline a stream goes on until it is ended; with one it ends by it."""
    endless = Endless()
    async with open_stream_door(endless.serve) as door:
        unlimited = door.watch(seconds=None)
        assert await unlimited.read() == b""
        limited = door.watch(seconds=0.3)
        assert await limited.read() == b""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await limited.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(endless.ended.wait(), 10)
        assert not unlimited.done()
        unlimited.cancel()


async def test_work_of_a_stream_has_a_deadline() -> None:
    """The caller of a message has a deadline of its own: half a minute, or the stream's when that
    comes before."""
    deadlines: list[float] = []

    async def note(stream: Stream) -> None:
        left = (await stream.caller()).deadline - asyncio.get_running_loop().time()
        deadlines.append(left)

    async with open_stream_door(note) as door:
        for seconds in (None, 1e8, 5.0):
            [_ async for _ in door.watch(seconds=seconds)]
    assert [round(each) for each in deadlines] == [30, 30, 5]


async def test_a_revoked_key_ends_its_streams() -> None:
    """Who calls is asked anew for each message: a stream does not outlive its key."""
    async with open_stream_door(caller_each_time) as door:
        call = door.append()
        await call.write(CHUNK.SerializeToString())
        assert pb.AppendRecipientsResponse.FromString(await call.read()) == ACK
        door.doorkeeper.is_revoked = True
        await call.write(CHUNK.SerializeToString())
        assert (await refused(call)).reason == "UNAUTHENTICATED"


async def caller_each_time(stream: Stream) -> None:
    """Answers each message for a caller that is known."""
    while await stream.receive() is not None:
        await stream.caller()
        await stream.send(ACK)


async def test_nobody_unknown_opens_a_stream() -> None:
    """Who calls is asked before anything is read."""
    async with open_stream_door(acknowledge) as door:
        door.doorkeeper.is_revoked = True
        assert (await refused(door.append())).reason == "UNAUTHENTICATED"
        assert (await refused(door.watch(content=b"\xff"))).reason == "UNAUTHENTICATED"


async def test_streams_count_as_calls() -> None:
    """Over its measure of calls the door sends streams away, to come again."""
    endless = Endless()
    async with open_stream_door(endless.serve, max_streams=2) as door:
        let_in = [door.watch() for _ in range(2)]
        assert [await each.read() for each in let_in] == [b"", b""]
        sent_away = await refused(door.watch())
        assert sent_away.reason == "RATE_LIMITED"
        assert sent_away.retry_after is not None
        for each in let_in:
            each.cancel()
        assert await in_flight(door, "WatchCampaign") == 0
        again = door.watch()
        assert await again.read() == b""
        again.cancel()


async def test_one_key_does_not_take_all_streams() -> None:
    """A key has a share of the places for streams; over it the next one is sent away, and the place
    of one that has ended is free."""
    endless = Endless()
    async with open_stream_door(endless.serve, max_streams=10, max_streams_of_key=2) as door:
        let_in = [door.watch() for _ in range(2)]
        assert [await each.read() for each in let_in] == [b"", b""]
        sent_away = await refused(door.watch())
        assert (sent_away.reason, sent_away.code.name) == ("RATE_LIMITED", "RESOURCE_EXHAUSTED")
        assert sent_away.retry_after is not None
        for each in let_in:
            each.cancel()
        assert await in_flight(door, "WatchCampaign") == 0
        again = door.watch()
        assert await again.read() == b""
        again.cancel()


async def test_a_stream_that_sends_nothing_is_ended() -> None:
    """A caller that has opened a stream and sends nothing is told to come again, before its first
    message and after one; a stream that only listens goes on."""
    async with open_stream_door(acknowledge, idle_seconds=0.2) as door:
        silent = door.append()
        assert (await refused(silent)).reason == "UNAVAILABLE"
        call = door.append()
        await call.write(CHUNK.SerializeToString())
        assert pb.AppendRecipientsResponse.FromString(await call.read()) == ACK
        assert (await refused(call)).reason == "UNAVAILABLE"
        assert await in_flight(door, "AppendRecipients") == 0
    endless = Endless()
    async with open_stream_door(endless.serve, idle_seconds=0.2) as door:
        listening = door.watch()
        assert await listening.read() == b""
        await asyncio.sleep(0.4)
        assert not listening.done()
        listening.cancel()


async def test_unanswered_messages_are_bounded() -> None:
    """Messages that wait for their answers count as under way, all streams together; over the
    measure they are refused. What a stream leaves behind counts no more."""

    async def read_on(stream: Stream) -> None:
        while await stream.receive() is not None:
            pass

    size = len(CHUNK.SerializeToString())
    async with open_stream_door(read_on, max_request_bytes=3 * size) as door:
        for _ in range(3):
            call = door.append()
            for _ in range(4):
                await call.write(CHUNK.SerializeToString())
            assert (await refused(call)).reason == "RATE_LIMITED"
        call = door.append()
        for _ in range(3):
            await call.write(CHUNK.SerializeToString())
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_the_end_of_the_process_does_not_wait_for_streams() -> None:
    """When the process ends, streams are told to go on elsewhere, at once."""
    endless = Endless()
    async with open_stream_door(endless.serve) as door:
        calls = [door.watch(seconds=None), door.watch()]
        for call in calls:
            assert await call.read() == b""
        door.door.end_streams()
        for call in calls:
            refusal = await refused(call)
            assert refusal.reason == "UNAVAILABLE"
            assert refusal.retry_after is not None
        assert endless.cancelled == 2


async def test_a_stream_cannot_be_a_change() -> None:
    """A streaming method with a rule that wants a request id stops the start."""
    async with open_stream_door(tell_once) as door:
        rules = {**RULES, "WatchCampaign": MethodRule(scope=Scope.ISSUE, mutates=True)}

        class Anything:
            def __getattr__(self, name: str) -> object:
                return tell_once

        with pytest.raises(ValueError, match="WatchCampaign"):
            door.door.handlers(SERVICE, Anything(), rules)


async def test_one_key_does_not_take_all_bytes() -> None:
    """What is large of a key's messages, in all its streams, counts as its share; over it the
    stream is refused, and what its streams leave behind counts no more."""

    async def read_on(stream: Stream) -> None:
        while await stream.receive() is not None:
            pass

    rows = [Recipient(external_id="x" * 100 + str(number)) for number in range(1000)]
    large = pb.AppendRecipientsRequest(
        chunk=pb.RecipientChunk(stream_id="x", writer_epoch=1, recipients=rows)
    ).SerializeToString()
    async with open_stream_door(
        read_on, max_request_bytes=10 * len(large), max_request_bytes_of_key=2 * len(large)
    ) as door:
        for _ in range(2):
            calls = [door.append() for _ in range(3)]
            for call in calls:
                await call.write(large)
            ends = [asyncio.ensure_future(call.code()) for call in calls]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            [over] = [call for call in calls if call.done()]
            assert (await refused(over)).reason == "RATE_LIMITED"
            for call in calls:
                if call is not over:
                    await call.done_writing()
            codes = await asyncio.gather(*ends)
            assert sorted(code.name for code in codes) == ["OK", "OK", "RESOURCE_EXHAUSTED"]
