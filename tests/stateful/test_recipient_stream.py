"""A recipient stream against a plain model: writers that append, repeat, overlap, skip, claim,
write at once, and die in the middle; after each step the stream holds what the model holds."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import Recipient, RecipientStream
from tests.support.campaigns import ClubCampaigns, bad_recipient, checksum, chunk, recipient
from tests.support.postgres import Database
from tests.support.refusals import refusal_of_status, refused
from tests.support.service import Service, meta, open_service

T = TypeVar("T")

# Which recipients of a chunk fit their template.
rows = st.lists(st.booleans(), min_size=1, max_size=6)
# Where a chunk begins, counted from the stream's end.
places = st.integers(min_value=-8, max_value=2)
checksums = st.sampled_from(["none", "right", "wrong"])


@dataclass(kw_only=True)
class Model:
    """What a stream must hold: external ids by offset, and which of them were refused."""

    ids: list[str] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    epoch: int = 1
    is_open: bool = True


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What must come of a chunk: a reason, or an acknowledgement."""

    reason: str = ""
    next_offset: int = 0
    duplicates: int = 0
    errors: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A chunk as a writer makes it, with what it is said to be."""

    chunk: pb.RecipientChunk
    fits: Sequence[bool]
    is_sound: bool = True


def expected(model: Model, sent: Sent) -> Outcome:
    """What the rules say of a chunk, and does it to the model."""
    offset, end = sent.chunk.offset, len(model.ids)
    count = len(sent.fits)
    if not sent.is_sound:
        return Outcome(reason="CHECKSUM_MISMATCH")
    if sent.chunk.writer_epoch != model.epoch:
        return Outcome(reason="WRITER_FENCED")
    present = max(0, min(end - offset, count))
    if present == count:
        return Outcome(next_offset=end, duplicates=count)
    if not model.is_open:
        return Outcome(reason="STREAM_STATE")
    if offset > end:
        return Outcome(reason="OFFSET_GAP")
    added = range(offset + present, offset + count)
    model.ids += [each.external_id for each in sent.chunk.recipients[present:]]
    errors = tuple(at for at in added if not sent.fits[at - offset])
    model.refused |= set(errors)
    return Outcome(next_offset=offset + count, duplicates=present, errors=errors)


def outcome_of(answer: pb.AppendRecipientsResponse) -> Outcome:
    """What came of a chunk."""
    if answer.HasField("error"):
        return Outcome(reason=refusal_of_status(answer.error.status).reason)
    return Outcome(
        next_offset=answer.ack.next_offset,
        duplicates=answer.ack.duplicate_count,
        errors=tuple(each.offset for each in answer.ack.row_errors),
    )


class StreamLife(RuleBasedStateMachine):
    """One stream and its writers, which are told apart by their epochs."""

    writers: Bundle[int] = Bundle("writers")

    def __init__(self, runner: asyncio.Runner, service: Service, campaigns: ClubCampaigns) -> None:
        super().__init__()
        self._runner = runner
        self._service = service
        self._campaigns = campaigns
        self._model = Model()
        self._numbers = itertools.count()

    @initialize(target=writers)
    def open(self) -> int:
        """A campaign with one stream."""
        self._campaign = self._run(self._campaigns.create())
        self._stream = self._run(self._campaigns.open_stream(self._campaign))
        return self._stream.writer_epoch

    def _run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._runner.run(wait())

    def _recipients(self, fits: Sequence[bool]) -> list[Recipient]:
        return [
            (recipient if is_good else bad_recipient)(f"r{next(self._numbers)}") for is_good in fits
        ]

    def _sent(self, epoch: int, place: int, fits: Sequence[bool], *, checked: str = "none") -> Sent:
        recipients = self._recipients(fits)
        crc32c = None if checked == "none" else checksum(recipients) ^ (checked == "wrong")
        made = chunk(
            self._stream,
            recipients,
            offset=max(0, len(self._model.ids) + place),
            writer_epoch=epoch,
            crc32c=crc32c,
        )
        return Sent(chunk=made, fits=fits, is_sound=checked != "wrong")

    @rule(writer=writers, place=places, fits=rows, checked=checksums)
    def append_one(self, writer: int, place: int, fits: list[bool], checked: str) -> None:
        """One chunk by itself."""
        sent = self._sent(writer, place, fits, checked=checked)
        wanted = expected(self._model, sent)
        if wanted.reason:
            request = pb.AppendRecipientChunkRequest(chunk=sent.chunk)
            call = self._campaigns.club.campaigns.AppendRecipientChunk(request)
            assert self._run(refused(call)).reason == wanted.reason
            return
        ack = self._run(self._campaigns.append(sent.chunk))
        assert outcome_of(pb.AppendRecipientsResponse(ack=ack)) == wanted

    @rule(writer=writers, chunks=st.lists(st.tuples(places, rows), min_size=1, max_size=6))
    def append_ahead(self, writer: int, chunks: list[tuple[int, list[bool]]]) -> None:
        """Several chunks without waiting: each is answered up to the first that is refused."""
        sent: list[Sent] = []
        wanted: list[Outcome] = []
        for place, fits in chunks:
            sent.append(self._sent(writer, place, fits))
            if not (wanted and wanted[-1].reason):
                wanted.append(expected(self._model, sent[-1]))
        answers = self._run(self._campaigns.send([each.chunk for each in sent]))
        assert [outcome_of(each) for each in answers] == wanted

    @rule(writer=writers, sizes=st.lists(rows, min_size=1, max_size=8), heard=st.integers(0, 3))
    def die(self, writer: int, sizes: list[list[bool]], heard: int) -> None:
        """A writer is cut off after it has heard some answers. What it sent is there as a run of
        whole chunks, those it heard of among them; the next writer finds out which."""
        sent: list[Sent] = []
        place = 0
        for fits in sizes:
            sent.append(self._sent(writer, place, fits))
            place += len(fits)
        acks = self._run(self._cut_off([each.chunk for each in sent], heard))
        claimed = self._run(self._claimed())
        if claimed is None:  # it is closed: nothing was added
            return
        is_writer = writer == self._model.epoch
        self._model.epoch += 1
        assert claimed.writer_epoch == self._model.epoch
        if is_writer:
            self._model.epoch -= 1
            for each in sent:
                if len(self._model.ids) == claimed.next_offset:
                    break
                expected(self._model, each)
            self._model.epoch += 1
        assert claimed.next_offset == len(self._model.ids)
        assert all(each <= claimed.next_offset for each in acks)

    async def _cut_off(self, chunks: Sequence[pb.RecipientChunk], heard: int) -> list[int]:
        call = self._campaigns.club.campaigns.AppendRecipients()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for each in chunks:  # a writer that is refused is not heard to the end
                await call.write(pb.AppendRecipientsRequest(chunk=each))
        acks = []
        for _ in range(min(heard, len(chunks))):
            answer = await call.read()
            if not isinstance(answer, pb.AppendRecipientsResponse) or answer.HasField("error"):
                break
            acks.append(answer.ack.next_offset)
        call.cancel()
        return acks

    async def _claimed(self) -> RecipientStream | None:
        if not self._model.is_open:
            return None
        return await self._campaigns.claim(self._stream)

    @rule(target=writers)
    def claim(self) -> int:
        """Somebody takes the stream over."""
        if not self._model.is_open:
            request = pb.ClaimRecipientStreamRequest(stream_id=self._stream.stream_id, meta=meta())
            call = self._campaigns.club.campaigns.ClaimRecipientStream(request)
            assert self._run(refused(call)).reason == "STREAM_STATE"
            return self._model.epoch
        claimed = self._run(self._campaigns.claim(self._stream))
        self._model.epoch += 1
        assert (claimed.writer_epoch, claimed.next_offset) == (
            self._model.epoch,
            len(self._model.ids),
        )
        return claimed.writer_epoch

    @rule(sizes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=5))
    def append_twice_at_once(self, sizes: list[tuple[int, int]]) -> None:
        """Two who believe to be the writer send the same recipients at once, cut otherwise: each
        recipient is there once."""
        count = min(sum(each[0] for each in sizes), sum(each[1] for each in sizes))
        recipients = self._recipients([True] * count)
        start = len(self._model.ids)

        def cut(lengths: Sequence[int]) -> list[pb.RecipientChunk]:
            ends = [min(end, count) for end in itertools.accumulate(lengths)]
            return [
                chunk(
                    self._stream,
                    recipients[at:end],
                    offset=start + at,
                    writer_epoch=self._model.epoch,
                )
                for at, end in itertools.pairwise([0, *ends])
                if at < end
            ]

        async def both() -> list[list[pb.AppendRecipientsResponse]]:
            first = self._campaigns.send(cut([each[0] for each in sizes]))
            second = self._campaigns.send(cut([each[1] for each in sizes]))
            return list(await asyncio.gather(first, second))

        for answers in self._run(both()):
            if self._model.is_open:
                assert answers[-1].ack.next_offset >= start + count
            else:
                assert outcome_of(answers[0]).reason == "STREAM_STATE"
        if self._model.is_open:
            self._model.ids += [each.external_id for each in recipients]

    @rule(writer=writers, wrong_by=st.sampled_from([-1, 1, 0, 0]), is_meant=st.booleans())
    def close(self, writer: int, wrong_by: int, is_meant: bool) -> None:
        """A writer closes the stream, or is told why not. Mostly it does not mean it, so that there
        is something left to try."""
        count = len(self._model.ids) + (wrong_by if is_meant else 1)
        request = pb.FinalizeRecipientStreamRequest(
            stream_id=self._stream.stream_id,
            writer_epoch=writer,
            expected_rows=max(0, count),
            meta=meta(),
        )
        call = self._campaigns.club.campaigns.FinalizeRecipientStream(request)
        if writer == self._model.epoch and max(0, count) == len(self._model.ids):
            assert self._run(call).stream.state == RecipientStream.STATE_FINALIZED
            self._model.is_open = False
            return
        reason = "WRITER_FENCED" if writer != self._model.epoch else "STREAM_STATE"
        assert self._run(refused(call)).reason == reason

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """The stream, its chunks and its failures are the model's."""
        self._run(self._compare())

    async def _compare(self) -> None:
        found = await self._campaigns.read_stream(self._stream)
        model = self._model
        assert (found.next_offset, found.writer_epoch, found.invalid_count) == (
            len(model.ids),
            model.epoch,
            len(model.refused),
        )
        assert (found.state == RecipientStream.STATE_OPEN) == model.is_open
        assert await self._campaigns.stored(self._stream) == model.ids
        listed = await self._campaigns.results(self._campaign, failed_only=True)
        assert {each.offset: each.external_id for each in listed} == {
            at: model.ids[at] for at in model.refused
        }


def test_a_stream_holds_what_was_acknowledged(shared_database: Database) -> None:
    """Whatever writers do, in whatever order, the stream is what the rules make of it."""
    with asyncio.Runner() as runner:
        opened = open_service(shared_database.url)
        service = runner.run(opened.__aenter__())
        try:
            campaigns = ClubCampaigns(club=runner.run(service.add_club()))
            run_state_machine_as_test(
                lambda: StreamLife(runner, service, campaigns),  # type: ignore[arg-type] # any maker
                settings=settings(
                    max_examples=30,
                    stateful_step_count=15,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
