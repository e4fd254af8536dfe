"""What workers do about reward sign-ups, wired."""

from __future__ import annotations

from typing import Final

from passmill.compose_frame import Frame
from passmill.jobs.worker import Worker
from passmill.store.jobs import JobKind, open_job_queue
from passmill.store.personalizations import PersonalizationPayload
from passmill.usecases.sign_personalization import SignPersonalization

# A phone waits for each, and each is done within some ten milliseconds.
_AT_ONCE: Final = 4


def sign_personalization(frame: Frame) -> SignPersonalization:
    """The use case on a frame."""
    rendering = frame.rendering
    return SignPersonalization(
        database=frame.database,
        load_revision=frame.load_revision,
        identities=frame.identities,
        contents=rendering.contents,
        sealer=rendering.sealer,
        clock=frame.clock,
        metrics=frame.metrics,
    )


def sign_up_worker(frame: Frame, sign: SignPersonalization) -> Worker[PersonalizationPayload]:
    """Serves sign-ups apart from all other jobs, so that none waits behind a campaign's shards."""

    async def serve(payload: PersonalizationPayload) -> None:
        await sign(payload.tenant_id, payload.request_id)

    async def give_up(payload: PersonalizationPayload) -> bool:
        return await sign.give_up(payload.tenant_id, payload.request_id)

    return Worker(
        open_queue=lambda: open_job_queue(frame.settings.database_url.get_secret_value()),
        decode=PersonalizationPayload.decode,
        handlers={JobKind.PERSONALIZE: serve},
        give_up=give_up,
        metrics=frame.campaign_metrics,
        concurrent_jobs=_AT_ONCE,
        heartbeat_seconds=frame.settings.worker.heartbeat_seconds,
    )
