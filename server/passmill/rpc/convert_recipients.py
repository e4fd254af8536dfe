"""Between the protocol and recipients: streams, chunks and results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import google_crc32c

from passmill.domain.campaigns import RecipientStream, StreamState
from passmill.domain.ids import SerialNumbers, StreamId, parse_uuid
from passmill.domain.recipient_results import Place, RecipientResult, ResultState
from passmill.domain.reference_ids import format_reference_id
from passmill.errors import AppError, Reason, not_found
from passmill.rpc.convert_enrolment import claim_url
from passmill.rpc.convert_pass import pass_draft_from_proto, ref_from_proto
from passmill.usecases.append_recipients import ChunkAck, RecipientChunk
from passmill.usecases.check_recipients import RecipientRow
from passmill.v1 import campaign_pb2, campaign_service_pb2

_RESULT_STATES: Final[Mapping[ResultState, campaign_pb2.RecipientResult.State.ValueType]] = {
    ResultState.PENDING: campaign_pb2.RecipientResult.STATE_PENDING,
    ResultState.SUCCEEDED: campaign_pb2.RecipientResult.STATE_SUCCEEDED,
    ResultState.INVALID: campaign_pb2.RecipientResult.STATE_INVALID,
    ResultState.FAILED: campaign_pb2.RecipientResult.STATE_FAILED,
    ResultState.DUPLICATE: campaign_pb2.RecipientResult.STATE_DUPLICATE,
    ResultState.SKIPPED: campaign_pb2.RecipientResult.STATE_SKIPPED,
}
_STREAM_STATES: Final[Mapping[StreamState, campaign_pb2.RecipientStream.State.ValueType]] = {
    StreamState.OPEN: campaign_pb2.RecipientStream.STATE_OPEN,
    StreamState.FINALIZED: campaign_pb2.RecipientStream.STATE_FINALIZED,
}


def stream_id_from(text: str) -> StreamId:
    """A recipient stream's id. AppError NOT_FOUND when it is none."""
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("recipient stream")
    return StreamId(parsed)


def chunk_from_proto(message: campaign_service_pb2.RecipientChunk) -> RecipientChunk:
    """A chunk, its recipients converted as they are gone through. AppError CHECKSUM_MISMATCH, and
    NOT_FOUND for a stream id that is none."""
    stream_id = stream_id_from(message.stream_id)
    if message.HasField("crc32c"):
        _require_checksum(message)
    return RecipientChunk(
        stream_id=stream_id,
        writer_epoch=message.writer_epoch,
        offset=message.offset,
        recipients=_rows(message.recipients),
    )


def _require_checksum(message: campaign_service_pb2.RecipientChunk) -> None:
    content = b"".join([each.SerializeToString(deterministic=True) for each in message.recipients])
    if google_crc32c.value(content) != message.crc32c:
        raise AppError(
            reason=Reason.CHECKSUM_MISMATCH,
            message="The recipients are not those that were sent: their CRC-32C differs."
            " Send the chunk again.",
        )


def _rows(messages: Iterable[campaign_pb2.Recipient]) -> Iterator[RecipientRow]:
    for message in messages:
        yield RecipientRow(
            external_id=message.external_id,
            ref=ref_from_proto(message.ref)
            if message.HasField("ref") and message.ref.WhichOneof("ref")
            else None,
            draft=pass_draft_from_proto(message.draft) if message.HasField("draft") else None,
        )


def ack_to_proto(ack: ChunkAck) -> campaign_service_pb2.AppendAck:
    """What came of a chunk."""
    return campaign_service_pb2.AppendAck(
        next_offset=ack.next_offset,
        duplicate_count=ack.duplicate_count,
        row_errors=[
            campaign_service_pb2.RowError(
                offset=offset, reason=each.reason.value, message=each.message, fields=each.fields
            )
            for offset, each in ack.refused
        ],
    )


def stream_to_proto(stream: RecipientStream) -> campaign_pb2.RecipientStream:
    """A recipient stream for the wire."""
    return campaign_pb2.RecipientStream(
        stream_id=str(stream.stream_id),
        campaign_id=str(stream.campaign_id),
        next_offset=stream.next_offset,
        writer_epoch=stream.writer_epoch,
        state=_STREAM_STATES[stream.state],
        invalid_count=stream.invalid_count,
    )


def place_from_proto(message: campaign_service_pb2.ResultPlace) -> Place:
    """A place among recipients. AppError NOT_FOUND when its stream id is none."""
    return stream_id_from(message.stream_id), message.offset


def result_to_proto(
    result: RecipientResult, serial_numbers: SerialNumbers, public_url: str | None
) -> campaign_pb2.RecipientResult:
    """What became of a recipient, for the wire. `public_url`: what claim links begin with."""
    stream_id, offset = result.place
    message = campaign_pb2.RecipientResult(
        stream_id=str(stream_id),
        offset=offset,
        external_id=result.external_id,
        state=_RESULT_STATES[result.state],
        reason=result.reason,
        message=result.message,
        claim_url=claim_url(result.claim_token, public_url),
    )
    if result.pass_id is not None:
        message.pass_id = str(result.pass_id)
        message.serial_number = serial_numbers.of(result.pass_id)
    if result.reference_number is not None:
        message.reference_id = format_reference_id(result.reference_number)
    return message
