"""Concurrent issues of one tenant ride together: one transaction, one batch of signatures, one
transaction more.

Nobody waits for a group to fill. While a group is on its way, those who come later form the next
one; a lone request goes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, TenantId, new_uuid
from passmill.domain.passes import WalletPass
from passmill.errors import AppError
from passmill.signing.native import SigningIdentity
from passmill.signing.revisions import LoadedRevision
from passmill.signing.sealer import Sealer, SignRequest
from passmill.store import passes
from passmill.store.answers import StoredAnswer
from passmill.store.database import Database
from passmill.telemetry.metrics import Metrics

_MAX_PASSES = 512  # in one group, so that nobody waits long behind a batch
# A group of more passes than this is not waited for while it is being signed.
_MAX_WAITED_FOR = 64
_FLUSH_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPass:
    """A pass to issue, with the line from which it was rendered to get its digest."""

    wallet_pass: WalletPass
    line: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedIssue:
    """One request, ready to be written: its answer and its passes, of one revision and one signing
    identity. `replaces`: the pass whose place they take."""

    answer: StoredAnswer
    rendered: Sequence[RenderedPass]
    loaded: LoadedRevision
    identity: SigningIdentity
    replaces: PassId | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    issue: PreparedIssue
    is_new: asyncio.Future[bool]


class IssueGroups:
    """Writes and signs issues in groups, one lane a tenant. Its tasks belong to the task group
    given."""

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._metrics = metrics
        self._tasks = tasks
        self._waiting: dict[TenantId, deque[_Waiting]] = {}
        self._log = structlog.get_logger("passmill.issue")

    async def submit(self, caller: Caller, issue: PreparedIssue) -> bool:
        """Issues the passes: True when they are committed and signed (or the signature is left to
        the sweeper, should the signer fail), False when the request id was used before and nothing
        was written.

        A caller that gives up before its turn is forgotten. Later it does not stop its group: what
        is committed stays, a retry finds the answer.
        """
        is_new: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(caller.tenant_id)
        if waiting is None:
            waiting = self._waiting[caller.tenant_id] = deque()
            self._tasks.create_task(self._run_lane(caller.tenant_id, waiting))
        mine = _Waiting(issue=issue, is_new=is_new)
        waiting.append(mine)
        try:
            return await is_new
        except asyncio.CancelledError:
            # Whoever gives up while still waiting takes up no room, and nothing is written for him.
            with contextlib.suppress(ValueError):
                waiting.remove(mine)
            raise

    async def _run_lane(self, tenant_id: TenantId, waiting: deque[_Waiting]) -> None:
        """A tenant's groups, one after the other, until nobody waits: every group costs the same
        few round trips, so the more ride in one the better."""
        try:
            while waiting:
                group = _take_group(waiting)
                written = await self._write_group(tenant_id, group) if group else []
                if not written:
                    continue
                signing = self._tasks.create_task(self._sign_group(tenant_id, written))
                if sum(len(each.issue.rendered) for each in written) <= _MAX_WAITED_FOR:
                    await asyncio.wait({signing})
        finally:
            del self._waiting[tenant_id]
            for each in waiting:
                each.is_new.cancel()

    async def _sign_group(self, tenant_id: TenantId, group: list[_Waiting]) -> None:
        try:
            await self._sign(tenant_id, [each.issue for each in group])
        finally:
            # Committed is issued, whatever became of the signatures.
            for each in group:
                if not each.is_new.done():
                    each.is_new.set_result(True)

    async def _write_group(self, tenant_id: TenantId, group: list[_Waiting]) -> list[_Waiting]:
        """Writes a group; gives those of it that are now to be signed, the others are answered."""
        try:
            new = await self._write(tenant_id, [each.issue for each in group])
        except asyncio.CancelledError:
            for each in group:
                each.is_new.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            if len(group) > 1 and not isinstance(error, AppError):
                # One request's fault must not be its neighbours': each alone.
                alone = [await self._write_group(tenant_id, [each]) for each in group]
                return [each for written in alone for each in written]
            for each in group:
                if not each.is_new.done():
                    each.is_new.set_exception(error)
            return []
        for each in group:
            is_new = each.issue.answer.request_id in new
            if not (is_new and each.issue.rendered) and not each.is_new.done():
                each.is_new.set_result(is_new)
        return [
            each for each in group if each.issue.answer.request_id in new and each.issue.rendered
        ]

    async def _write(self, tenant_id: TenantId, issues: list[PreparedIssue]) -> set[UUID]:
        issues = sorted(issues, key=lambda issue: issue.answer.request_id)
        caller = self._caller(tenant_id)
        async with self._database.statement(caller) as tx:
            new = await passes.insert_issued(
                tx,
                requests=[issue.answer for issue in issues],
                passes=[
                    (issue.answer.request_id, each.wallet_pass)
                    for issue in issues
                    for each in issue.rendered
                ],
                event_ids=[new_uuid() for _ in issues],
                replaced=[
                    (issue.answer.request_id, each.wallet_pass.pass_id, issue.replaces)
                    for issue in issues
                    if issue.replaces is not None
                    for each in issue.rendered
                ],
                now=self._clock.now(),
            )
        self._metrics.issued(
            sum(len(issue.rendered) for issue in issues if issue.answer.request_id in new)
        )
        return new

    async def _sign(self, tenant_id: TenantId, issues: list[PreparedIssue]) -> None:
        # The passes are committed: from here on a failure is not the caller's. The sweeper finishes
        # what is left.
        signed: list[tuple[PassId, int, bytes]] = []
        for batch in _by_revision_and_identity(issues):
            try:
                signed += await self._sign_batch(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the lane
                self._log.error("issue.signing_left_to_sweeper", exc_info=error)
        if not signed:
            return
        try:
            async with self._database.statement(self._caller(tenant_id)) as tx:
                await passes.store_signatures(tx, signed)
        except Exception as error:  # noqa: BLE001 - as above
            self._log.error("issue.signing_left_to_sweeper", exc_info=error)

    async def _sign_batch(self, batch: list[PreparedIssue]) -> list[tuple[PassId, int, bytes]]:
        rendered = [each for issue in batch for each in issue.rendered]
        results = await self._sealer.sign(
            batch[0].loaded.prepared(is_personalized=False),
            batch[0].identity,
            [
                SignRequest(line=each.line, signing_time=each.wallet_pass.signing_time)
                for each in rendered
            ],
        )
        return [
            (each.wallet_pass.pass_id, each.wallet_pass.version, result.signature)
            for each, result in zip(rendered, results, strict=True)
        ]

    def _caller(self, tenant_id: TenantId) -> Caller:
        deadline = asyncio.get_running_loop().time() + _FLUSH_SECONDS
        return internal_caller(tenant_id, deadline=deadline)


def _take_group(waiting: deque[_Waiting]) -> list[_Waiting]:
    """From the front: as many as fit, no request id twice (a twin must find its brother's answer
    committed), and none whose caller has given up: nothing of it is written yet."""
    group: list[_Waiting] = []
    request_ids: set[UUID] = set()
    count = 0
    while waiting:
        if waiting[0].is_new.done():
            waiting.popleft()
            continue
        issue = waiting[0].issue
        count += len(issue.rendered)
        if group and (count > _MAX_PASSES or issue.answer.request_id in request_ids):
            break
        request_ids.add(issue.answer.request_id)
        group.append(waiting.popleft())
    return group


def _by_revision_and_identity(issues: list[PreparedIssue]) -> list[list[PreparedIssue]]:
    batches: dict[tuple[int, int], list[PreparedIssue]] = {}
    for issue in issues:
        batches.setdefault((id(issue.loaded), id(issue.identity)), []).append(issue)
    return list(batches.values())
