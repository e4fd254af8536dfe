"""What a phone is told that is one too many, over HTTPS."""

import pytest

from passmill.v1.event_pb2 import EVENT_KIND_PASS_OVER_SHARED
from passmill.v1.event_service_pb2 import ListEventsRequest
from tests.edge.rig import Edge, hold
from tests.support.service import Service
from tests.support.sharing import add_sharing_club, policy

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_too_many_is_unauthorized(edge: Edge, service: Service) -> None:
    """It gets 401, the one final refusal that Apple's protocol has for a registration, and no time
    to come back at; it may go on fetching the pass, which stays as it is. EventService tells."""
    club = await add_sharing_club(service, policy(1))
    held = await hold(club)

    async def register(device: str) -> int:
        answer = await edge.client.post(
            held.registration(device * 32),
            headers=held.authorization,
            json={"pushToken": device * 64},
        )
        assert "retry-after" not in answer.headers
        return answer.status_code

    assert [await register(device) for device in "aabba"] == [201, 200, 401, 401, 200]
    got = await edge.client.get(held.path, headers=held.authorization)
    assert (got.status_code, got.content) == (200, await club.bundle(held.wallet_pass))
    page = await club.tenant.member.events.ListEvents(
        ListEventsRequest(kinds=[EVENT_KIND_PASS_OVER_SHARED])
    )
    [event] = page.events
    assert list(event.pass_ids) == [held.wallet_pass.pass_id]
    detail = event.detail
    assert (detail.action, detail.device_count, detail.max_devices) == ("refuse", 2, 1)
    assert detail.system_version == "Darwin/23.4.0"
