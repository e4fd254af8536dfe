"""The rows of a file into a recipient stream: from where it stands, with every refused row into
the reject file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from passmill.cli.campaign.conversion import NOT_READABLE, BadRow, Conversion
from passmill.cli.campaign.rejects import RejectFile
from passmill.cli.campaign.sources import Row, Source, Unreadable
from passmill_client import Client, Recipient, RecipientResult, messages


@dataclass(slots=True, kw_only=True)
class Counts:
    """How many rows were read, and how many of them refused."""

    rows: int = 0
    rejected: int = 0


class Loading:
    """One pass over a file. Rows that the stream holds already are read again, as the refused ones
    among them belong into the reject file, and not sent."""

    def __init__(
        self,
        client: Client,
        source: Source,
        *,
        wanted: Sequence[str],
        conversion: Conversion,
        rejects: RejectFile,
        on_progress: Callable[[Counts], None],
    ) -> None:
        """`wanted`: the columns that the conversion takes, in its order."""
        self._client = client
        self._source = source
        self._wanted = wanted
        self._conversion = conversion
        self._rejects = rejects
        self._on_progress = on_progress
        self._waiting: deque[tuple[int, Row]] = deque()
        self._offset = 0
        self.counts = Counts()

    def run(self, stream: messages.RecipientStream, *, window: int, chunk_size: int) -> int:
        """Appends what is missing; gives how many recipients the stream holds then.

        PassmillError when the service refuses, CommandFailed when the file cannot be read on.
        """
        recipients = self._recipients()
        self._skip(stream, recipients)
        for ack in self._client.append_recipients(
            stream, recipients, window=window, chunk_size=chunk_size
        ):
            refused = {each.offset: (each.reason, _told(each)) for each in ack.row_errors}
            if ack.duplicate_count and self._waiting:
                # The first acknowledgement was lost with its connection.
                refused |= self._look_up(stream, self._waiting[0][0], ack.next_offset)
            while self._waiting and self._waiting[0][0] < ack.next_offset:
                offset, row = self._waiting.popleft()
                if offset in refused:
                    self._reject(row, *refused[offset])
            self._on_progress(self.counts)
        return self._offset

    def _recipients(self) -> Iterator[Recipient]:
        """The recipients that are to be sent; each waits with its row for its acknowledgement."""
        convert = self._conversion.recipient
        for row in self._source.rows(self._wanted):
            self.counts.rows += 1
            cells = row.cells
            if isinstance(cells, Unreadable):
                self._reject(row, NOT_READABLE, cells.message)
                continue
            try:
                recipient = convert(row.line, cells)
            except BadRow as bad:
                self._reject(row, bad.reason, bad.message)
                continue
            self._waiting.append((self._offset, row))
            self._offset += 1
            yield recipient

    def _skip(self, stream: messages.RecipientStream, recipients: Iterator[Recipient]) -> None:
        if not stream.next_offset:
            return
        refused = self._refused(stream) if stream.invalid_count else iter(())
        result = next(refused, None)
        while self._offset < stream.next_offset:
            if next(recipients, None) is None:
                return  # fewer rows than the stream holds: finalizing tells
            offset, row = self._waiting.popleft()
            if result is not None and result.offset == offset:
                self._reject(row, result.reason, result.message)
                result = next(refused, None)
            if not offset % 1000:
                self._on_progress(self.counts)

    def _look_up(
        self, stream: messages.RecipientStream, first: int, end: int
    ) -> dict[int, tuple[str, str]]:
        """Reason and message of the refused rows from `first` up to, without, `end`."""
        found = {}
        for result in self._refused(stream):
            if result.offset >= end:
                break
            if result.offset >= first:
                found[result.offset] = (result.reason, result.message)
        return found

    def _refused(self, stream: messages.RecipientStream) -> Iterator[RecipientResult]:
        """The rows of the stream that the service refused, in their order."""
        for result in self._client.list_recipients(stream.campaign_id, failed_only=True):
            if (
                result.stream_id == stream.stream_id
                and result.state == RecipientResult.STATE_INVALID
            ):
                yield result

    def _reject(self, row: Row, reason: str, message: str) -> None:
        self.counts.rejected += 1
        self._rejects.add(
            line=row.line, reason=reason, message=message, cells=self._source.show(row.raw)
        )


def _told(error: messages.RowError) -> str:
    unnamed = [field for field in error.fields if field not in error.message]
    return f"{error.message} ({', '.join(unnamed)})" if unnamed else error.message
