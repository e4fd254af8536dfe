"""Which places of a worker a push takes."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from passmill.domain.ids import PassId
from passmill.domain.registrations import DeviceNumber
from passmill.store.jobs import JobKind
from passmill.store.push_jobs import (
    MOST_DEVICES,
    PushPayload,
    enqueue_device_push,
    enqueue_pass_push,
)
from tests.fanout.conftest import Opener
from tests.support.fan_out import WAIT_SECONDS, FanOut


async def queued(fan_out: FanOut) -> list[tuple[JobKind, PushPayload]]:
    """The push jobs that are not done, in the order of their making."""
    rows = await fan_out.club.tenant.fetch(
        "SELECT entrypoint, payload FROM pgqueuer.pgqueuer WHERE entrypoint LIKE 'push%'"
        " ORDER BY id"
    )
    return [(JobKind(row["entrypoint"]), PushPayload.decode(row["payload"])) for row in rows]


def sizes(jobs: list[tuple[JobKind, PushPayload]]) -> list[tuple[JobKind, int]]:
    """How many devices or passes they name, by kind."""
    return sorted((kind, len(each.pass_ids) + len(each.device_numbers)) for kind, each in jobs)


@pytest.mark.parametrize("of_passes", [False, True])
async def test_many_take_no_place_of_a_change(open_worker_for: Opener, of_passes: bool) -> None:
    """Jobs of more than a hundred devices or passes, of whichever round, are of the kind that has
    few places; the rest of them that makes a small job is not."""
    async with open_worker_for(is_running=False) as fan_out:
        for count in (1, 100, 101, MOST_DEVICES + 100):
            async with fan_out.database.transaction(fan_out.caller) as tx:
                if of_passes:
                    await enqueue_pass_push(
                        tx, [PassId(UUID(int=number)) for number in range(count)], rounds=1
                    )
                else:
                    await enqueue_device_push(
                        tx, [DeviceNumber(number) for number in range(count)], rounds=1
                    )
        assert sizes(await queued(fan_out)) == [
            (JobKind.PUSH, 1),
            (JobKind.PUSH, 100),
            (JobKind.PUSH, 100),
            (JobKind.PUSH_MANY, 101),
            (JobKind.PUSH_MANY, MOST_DEVICES),
        ]


async def test_many_trailing_pushes_take_no_place_of_a_change(open_worker_for: Opener) -> None:
    """A pass on 101 phones that changes again within their window: the trailing push of all of
    them is of the kind that has few places, and a single phone's is not."""
    async with open_worker_for(window_seconds=3_600) as fan_out:
        passes = [await fan_out.club.issue() for _ in range(2)]
        await fan_out.register_many([UUID(passes[0].pass_id)], each=101)
        await fan_out.register_many([UUID(passes[1].pass_id)])
        for each in passes:
            await fan_out.change(each, 100)
        await fan_out.all_done()
        for each in passes:
            await fan_out.change(each, 101)
        jobs = await queued(fan_out)
        async with asyncio.timeout(WAIT_SECONDS):
            while not all(each.is_trailing for _, each in jobs):
                await asyncio.sleep(0.02)
                jobs = await queued(fan_out)
        assert sizes(jobs) == [(JobKind.PUSH, 1), (JobKind.PUSH_MANY, 101)]
