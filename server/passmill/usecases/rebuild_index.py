"""Fill the fan-out index anew from PostgreSQL: by itself where a look-up finds a bucket missing or
far behind, and all of it when an operator asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, TypeAlias

import structlog

from passmill.domain.callers import internal_caller, operator_caller
from passmill.domain.ids import TenantId
from passmill.domain.recent import Recent
from passmill.domain.registrations import BUCKETS
from passmill.errors import AppError, Reason
from passmill.push.registration_index import Mark, RegistrationIndex
from passmill.store import fan_out
from passmill.store.database import Database
from passmill.telemetry.push_metrics import PushMetrics

_PAGE: Final = 5_000
_SECONDS: Final = 30.0
_MOST_WAITING: Final = 10_000
# A bucket that is behind again so soon stays so: some transaction has been open for long.
_NOT_AGAIN_SECONDS: Final = 60.0
_AT_ONCE: Final = 4

_Place: TypeAlias = tuple[TenantId, int]


class RebuildIndex:
    """Fills buckets."""

    def __init__(
        self,
        *,
        database: Database,
        index: RegistrationIndex,
        metrics: PushMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._index = index
        self._metrics = metrics
        self._monotonic = monotonic
        self._waiting: dict[_Place, None] = {}
        self._asked = asyncio.Event()
        self._filled: Recent[_Place, bool] = Recent(capacity=_MOST_WAITING)
        self._log = structlog.get_logger("passmill.push")

    def request(self, tenant_id: TenantId, bucket: int, *, is_missing: bool) -> None:
        """Has a bucket filled soon, unless too many wait: it will be asked for again. One that is
        there, but behind, not again so soon."""
        place = (tenant_id, bucket)
        is_fresh = not is_missing and self._filled.find(place, now=self._monotonic())
        if len(self._waiting) < _MOST_WAITING and not is_fresh:
            self._waiting[place] = None
            self._asked.set()

    async def run_forever(self) -> None:
        """Fills what is requested, a bucket at a time. Ends by cancellation."""
        while True:
            await self._asked.wait()
            if not self._waiting:
                self._asked.clear()
                continue
            place = next(iter(self._waiting))
            del self._waiting[place]
            try:
                if await self._index.claim_build(*place) and await self.fill(*place) is not None:
                    self._filled.keep(place, True, until=self._monotonic() + _NOT_AGAIN_SECONDS)
            except AppError as error:
                self._log.warning("push.bucket_not_filled", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("push.bucket_not_filled")

    async def fill(self, tenant_id: TenantId, bucket: int) -> int | None:
        """Fills a bucket and gives how many registrations it holds; None when Redis did not take
        it. AppError UNAVAILABLE, DEADLINE_EXCEEDED."""
        # Read page by page in the order of the tags: a registration that moves meanwhile gets a tag
        # above the first page's mark, and is read again by whoever looks up.
        build = self._index.build(tenant_id, bucket)
        mark: Mark | None = None
        place: fan_out.PagePlace | None = fan_out.FIRST_PAGE
        count = 0
        while place is not None:
            deadline = asyncio.get_running_loop().time() + _SECONDS
            caller = internal_caller(tenant_id, deadline=deadline)
            async with self._database.statement(caller) as tx:
                followed, page = await fan_out.read_page(tx, bucket, after=place, at_most=_PAGE)
            mark = mark or Mark(database=followed.database, tag=followed.settled)
            if mark.database != followed.database:
                return None  # another primary took over between two pages
            if page.count and not await build.add(page.registrations):
                return None
            count += page.count
            place = page.end
        if mark is None or not await build.finish(after=mark):
            return None
        self._metrics.bucket_filled(count)
        return count

    async def everything(self) -> AsyncIterator[tuple[int, int, int]]:
        """Fills all buckets of all tenants; after each, gives how many are done, of how many, and
        how many registrations these hold.

        AppError UNAVAILABLE when Redis does not take one, or PostgreSQL does not answer.
        """
        deadline = asyncio.get_running_loop().time() + _SECONDS
        async with self._database.transaction(operator_caller(deadline=deadline)) as tx:
            tenants = await fan_out.list_registered_tenants(tx)
        places = [(tenant_id, bucket) for tenant_id in tenants for bucket in range(BUCKETS)]
        done = registrations = 0
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            registrations += await self._fill_together(some)
            done += len(some)
            yield done, len(places), registrations

    async def _fill_together(self, places: Sequence[_Place]) -> int:
        failures: Sequence[BaseException] = ()
        try:
            async with asyncio.TaskGroup() as tasks:
                filling = [tasks.create_task(self.fill(*place)) for place in places]
        except* AppError as errors:
            failures = errors.exceptions
        if failures:
            raise failures[0]
        counts = [task.result() for task in filling]
        if None in counts:
            raise AppError(
                reason=Reason.UNAVAILABLE, message="Redis does not answer, or takes no more."
            )
        return sum(count or 0 for count in counts)
