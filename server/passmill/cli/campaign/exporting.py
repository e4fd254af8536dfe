"""`passmill campaign export`."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from passmill.cli.campaign.bundles import BundleStore
from passmill.cli.campaign.progress import Progress
from passmill.cli.campaign.result_files import (
    STDOUT,
    ResultWriter,
    find_format,
    open_results,
)
from passmill_client import AsyncClient, Campaign, PassmillError, RecipientResult

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What is exported. `output`: a file, or "-". `bundles`: a folder or URL for the passes, empty
    for none. `concurrency`: passes fetched and stored at once."""

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
    if export.bundles_missing:
        print(f"{export.bundles_missing:,} bundles were not to be had.", file=sys.stderr)
        return PARTLY
    return 0


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
        self.count = 0
        self.bundles_missing = 0

    async def run(self) -> AsyncIterator[int]:
        """Gives how many results were read, now and then."""
        read = 0
        # Rows in their order, each with its bundle under way. Not a TaskGroup: one must not be left
        # open over a yield (PEP 789).
        under_way: deque[asyncio.Task[None] | None] = deque()
        rows: deque[dict[str, str]] = deque()
        try:
            async for result in self._client.export_results(self._options.campaign_id):
                read += 1
                if self._options.failed_only and result.state not in _FAILED:
                    continue
                row = _row(result)
                has_bundle = self._store is not None and bool(result.pass_id)
                rows.append(row)
                under_way.append(asyncio.create_task(self._fetch(row)) if has_bundle else None)
                while rows and (under_way[0] is None or len(rows) >= self._options.concurrency):
                    await self._write_first(rows, under_way)
                if not read % 100:
                    yield read
            while rows:
                await self._write_first(rows, under_way)
        finally:
            left = [task for task in under_way if task is not None]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _write_first(
        self, rows: deque[dict[str, str]], under_way: deque[asyncio.Task[None] | None]
    ) -> None:
        if (task := under_way[0]) is not None:
            await task
        under_way.popleft()
        self._writer.write(rows.popleft())
        self.count += 1

    async def _fetch(self, row: dict[str, str]) -> None:
        assert self._store is not None  # noqa: S101 - for the type checker
        try:
            bundle = await self._client.get_pass_bundle(pass_id=row["pass_id"], timeout=60.0)
        except PassmillError as error:
            if error.reason in _STOPPING:
                raise
            row["reason"], row["message"] = error.reason, error.message
            self.bundles_missing += 1
            return
        row["bundle"] = await self._store.put(bundle)


def _row(result: RecipientResult) -> dict[str, str]:
    return {
        "external_id": result.external_id,
        "state": RecipientResult.State.Name(result.state).removeprefix("STATE_"),
        "pass_id": result.pass_id,
        "reference_id": result.reference_id,
        "serial_number": result.serial_number,
        "reason": result.reason,
        "message": result.message,
        "bundle": "",
    }


def _has_ended(campaign: Campaign) -> bool:
    return campaign.state >= Campaign.STATE_CANCELLED
