"""What workers do about passes that are on too many devices, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from passmill import compose_passes
from passmill.compose_frame import Frame
from passmill.jobs.worker import Worker
from passmill.store.jobs import JobKind, open_job_queue
from passmill.store.sharing import ReissuePayload
from passmill.usecases.reissue_pass import ReissuePass

_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingServices:
    """Passes issued anew, and who serves their jobs."""

    reissue_pass: ReissuePass
    worker: Worker[ReissuePayload]


@asynccontextmanager
async def open_sharing(frame: Frame) -> AsyncIterator[SharingServices]:
    """The worker's part of sharing policies; nothing runs yet."""
    async with asyncio.TaskGroup() as tasks:
        reissue_pass = _reissue_pass(frame, tasks)
        yield SharingServices(reissue_pass=reissue_pass, worker=_worker(frame, reissue_pass))


def _reissue_pass(frame: Frame, tasks: asyncio.TaskGroup) -> ReissuePass:
    return ReissuePass(
        database=frame.database,
        mutator=frame.mutator,
        find_pass=frame.rendering.find_pass,
        load_revision=frame.load_revision,
        issue_passes=compose_passes.issue_passes(frame, tasks),
        edit_pass=compose_passes.edit_pass(frame),
        clock=frame.clock,
    )


def _worker(frame: Frame, reissue_pass: ReissuePass) -> Worker[ReissuePayload]:
    async def serve(payload: ReissuePayload) -> None:
        await reissue_pass(payload.tenant_id, payload.pass_id)

    async def give_up(payload: ReissuePayload) -> bool:
        return await reissue_pass.give_up(payload.tenant_id, payload.pass_id)

    return Worker(
        open_queue=lambda: open_job_queue(frame.settings.database_url.get_secret_value()),
        decode=ReissuePayload.decode,
        handlers={JobKind.REISSUE: serve},
        give_up=give_up,
        metrics=frame.campaign_metrics,
        concurrent_jobs=_AT_ONCE,
        heartbeat_seconds=frame.settings.worker.heartbeat_seconds,
    )
