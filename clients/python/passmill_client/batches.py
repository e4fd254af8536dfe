"""Issuing more passes than one batch holds: which drafts go together, and what became of each."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias, TypedDict
from uuid import UUID, uuid4, uuid5

from passmill.v1.pass_service_pb2 import BatchIssuePassesResponse
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft
from passmill_client.call import Call
from passmill_client.errors import PassmillError, error_of_status
from passmill_client.operations import passes

MAX_BATCH = 500
BATCH_SECONDS = 60.0
"""How long a batch may take with its retries, unless told otherwise."""

Outcome: TypeAlias = tuple[int, Pass | PassmillError]
"""A draft's place in the order they were given, and its pass or why there is none."""


class ManyOptions(TypedDict, total=False):
    """How many drafts are issued.

    `concurrency`: batches under way at once (8), each of `batch_size` drafts (500): no more than
    their product is held in memory. `run_id`: names this run; run again with the same id, drafts
    and batch size, it issues nothing twice. `timeout`: seconds for a batch with its retries (60).
    """

    concurrency: int
    batch_size: int
    run_id: UUID
    revision: int
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Drafts that are issued by one call. `first`: the place of its first draft."""

    first: int
    size: int
    call: Call[BatchIssuePassesResponse]

    def outcomes(self, answer: BatchIssuePassesResponse | PassmillError) -> Iterator[Outcome]:
        """What became of each draft; a batch that failed as a whole gives its error for each."""
        if isinstance(answer, PassmillError):
            yield from ((self.first + place, answer) for place in range(self.size))
            return
        for place, result in enumerate(answer.results, start=self.first):
            if result.HasField("wallet_pass"):
                yield place, result.wallet_pass
            else:
                yield place, error_of_status(result.error, request_id=self.call.request_id)


class Batches:
    """Makes batches of drafts in their order."""

    def __init__(self, template_id: str, options: ManyOptions) -> None:
        """ValueError when there would be no batch under way, or too large a one."""
        self.concurrency = options.get("concurrency", 8)
        self._size = options.get("batch_size", MAX_BATCH)
        if self.concurrency < 1 or not 1 <= self._size <= MAX_BATCH:
            raise ValueError(f"concurrency is at least 1, batch_size 1 to {MAX_BATCH}")
        self._template_id = template_id
        self._run_id = options.get("run_id") or uuid4()
        self._revision = options.get("revision", 0)
        self._timeout = options.get("timeout", BATCH_SECONDS)

    def of(self, drafts: Iterable[PassDraft]) -> Iterator[Batch]:
        """The batches of `drafts`, each read when it is asked for."""
        remaining, first = iter(drafts), 0
        while together := list(islice(remaining, self._size)):
            yield self._batch(first, together)
            first += len(together)

    async def of_async(self, drafts: AsyncIterable[PassDraft]) -> AsyncIterator[Batch]:
        """The same for drafts that have to be awaited."""
        together: list[PassDraft] = []
        first = 0
        async for draft in drafts:
            together.append(draft)
            if len(together) == self._size:
                yield self._batch(first, together)
                first += len(together)
                together = []
        if together:
            yield self._batch(first, together)

    def _batch(self, first: int, drafts: Sequence[PassDraft]) -> Batch:
        call = passes.batch_issue_passes(
            self._template_id,
            drafts,
            revision=self._revision,
            request_id=uuid5(self._run_id, str(first)),
            timeout=self._timeout,
        )
        return Batch(first=first, size=len(drafts), call=call)
