"""`passmill campaign export`."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from passmill.cli.campaign.bundles import BundleStore, NamedBundle, name_bundle, unpack_passes
from passmill.cli.campaign.progress import Progress
from passmill.cli.campaign.result_files import (
    STDOUT,
    ResultWriter,
    find_format,
    open_results,
)
from passmill_client import AsyncClient, Campaign, PassmillError, RecipientResult
from passmill_client.messages import PassRef

PARTLY: Final = 3
"""The exit status when some bundles were not to be had."""
# Other refusals are of one pass, and told in its row.
_STOPPING: Final = frozenset(
    {
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "RATE_LIMITED",
        "UNAUTHENTICATED",
        "SCOPE_MISSING",
        "TENANT_SUSPENDED",
        "INTERNAL",
    }
)
_FAILED: Final = frozenset({RecipientResult.STATE_INVALID, RecipientResult.STATE_FAILED})
_SERVED: Final = RecipientResult.STATE_SUCCEEDED
_BATCH_PASSES: Final = 10  # the most that one .pkpasses holds
_BATCH_ROWS: Final = 100
_CALL_SECONDS: Final = 60.0

_Row: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What is exported. `output`: a file, or "-". `bundles`: a folder or URL for the passes, empty
    for none. `concurrency`: calls under way at once, each for up to ten passes."""

    campaign_id: str
    output: str
    format: str | None
    failed_only: bool
    bundles: str
    concurrency: int


async def run(client: AsyncClient, options: ExportOptions) -> int:
    """Writes the results; gives the exit status."""
    output = options.output or f"{options.campaign_id}.csv"
    format_name = find_format(output, options.format)
    store = BundleStore(options.bundles) if options.bundles else None
    if store is not None and store.note:
        print(store.note, file=sys.stderr, flush=True)
    campaign = await client.get_campaign(options.campaign_id)
    with open_results(output, format_name) as writer, Progress("exporting") as progress:
        export = _Export(client, options, store, writer)
        async for count in export.run():
            total = campaign.progress.total
            progress.show(count, min(1.0, count / total) if total else None)
        progress.finish(export.count)
    if output != STDOUT:
        print(f"{export.count:,} results are in {output}.", file=sys.stderr)
    if not _has_ended(campaign):
        print("The campaign has not ended: export again when it has.", file=sys.stderr)
    if _makes_links(campaign) and campaign.progress.succeeded and not export.links:
        print("No claim links are told: that needs a key with scope issue.", file=sys.stderr)
    if export.bundles_missing:
        print(f"{export.bundles_missing:,} bundles were not to be had.", file=sys.stderr)
        return PARTLY
    return 0


@dataclass(slots=True)
class _Batch:
    """Rows that follow each other, and those of them whose passes are fetched together."""

    rows: list[_Row] = field(default_factory=list)
    with_bundle: list[_Row] = field(default_factory=list)
    fetching: asyncio.Task[None] | None = None


class _Export:
    def __init__(
        self,
        client: AsyncClient,
        options: ExportOptions,
        store: BundleStore | None,
        writer: ResultWriter,
    ) -> None:
        self._client = client
        self._options = options
        self._store = store
        self._writer = writer
        # In their order, each with its bundles under way. Not a TaskGroup: one must not be left
        # open over a yield (PEP 789).
        self._under_way: deque[_Batch] = deque()
        self.count = 0
        self.links = 0
        self.bundles_missing = 0

    async def run(self) -> AsyncIterator[int]:
        """Gives how many results were read, now and then."""
        read = 0
        batch = _Batch()
        try:
            async for result in self._client.export_results(self._options.campaign_id):
                read += 1
                self.links += bool(result.claim_url)
                if not self._options.failed_only or result.state in _FAILED:
                    row = _row(result)
                    batch.rows.append(row)
                    if self._store is not None and result.state == _SERVED and result.pass_id:
                        batch.with_bundle.append(row)
                if len(batch.with_bundle) == _BATCH_PASSES or len(batch.rows) == _BATCH_ROWS:
                    await self._send(batch)
                    batch = _Batch()
                if not read % 100:
                    yield read
            await self._send(batch)
            while self._under_way:
                await self._write_first()
        finally:
            left = [each.fetching for each in self._under_way if each.fetching is not None]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _send(self, batch: _Batch) -> None:
        if batch.with_bundle:
            batch.fetching = asyncio.create_task(self._fetch(batch.with_bundle))
        self._under_way.append(batch)
        while self._under_way and (
            self._under_way[0].fetching is None or len(self._under_way) >= self._options.concurrency
        ):
            await self._write_first()

    async def _write_first(self) -> None:
        if (task := self._under_way[0].fetching) is not None:
            await task
        batch = self._under_way.popleft()
        for row in batch.rows:
            self._writer.write(row)
        self.count += len(batch.rows)

    async def _fetch(self, rows: Sequence[_Row]) -> None:
        refs = [PassRef(pass_id=row["pass_id"]) for row in rows]
        try:
            packed = await self._client.get_passes_bundle(refs, timeout=_CALL_SECONDS)
        except PassmillError as error:
            if error.reason in _STOPPING:
                raise
            # One that is not to be had, or all together too large: each by itself.
            for row in rows:
                await self._fetch_one(row)
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                # In a thread: hashes of some hundred kilobytes, which need no GIL.
                bundles = await asyncio.to_thread(unpack_passes, packed)
                for row, bundle in zip(rows, bundles, strict=True):
                    tasks.create_task(self._keep(row, bundle))
        except ExceptionGroup as refusals:
            raise refusals.exceptions[0] from None

    async def _fetch_one(self, row: _Row) -> None:
        try:
            bundle = await self._client.get_pass_bundle(
                pass_id=row["pass_id"], timeout=_CALL_SECONDS
            )
        except PassmillError as error:
            if error.reason in _STOPPING:
                raise
            row["reason"], row["message"] = error.reason, error.message
            self.bundles_missing += 1
            return
        await self._keep(row, name_bundle(bundle))

    async def _keep(self, row: _Row, bundle: NamedBundle) -> None:
        assert self._store is not None  # noqa: S101 - for the type checker
        row["bundle"] = await self._store.put(bundle)


def _row(result: RecipientResult) -> _Row:
    return {
        "external_id": result.external_id,
        "state": RecipientResult.State.Name(result.state).removeprefix("STATE_"),
        "pass_id": result.pass_id,
        "reference_id": result.reference_id,
        "serial_number": result.serial_number,
        "reason": result.reason,
        "message": result.message,
        "bundle": "",
        "claim_url": result.claim_url,
    }


def _makes_links(campaign: Campaign) -> bool:
    return campaign.action.issue.HasField("claim_links")


def _has_ended(campaign: Campaign) -> bool:
    return campaign.state >= Campaign.STATE_CANCELLED
