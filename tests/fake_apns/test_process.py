"""The stand-in does the same in a process of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from passmill.dev.fake_apns import (
    Delivery,
    FakeApnsProcess,
    Fate,
    GoAway,
    LastStream,
    Refuse,
    Rule,
    Script,
)
from tests.fake_apns.conftest import TOPIC, Trust
from tests.support.push_client import open_push_client, push_headers


async def test_scripts_deliveries_and_the_log(trust: Trust, token: str) -> None:
    """Another script, ended tokens and GOAWAY reach the process; its pushes come back to devices
    and the log, all of them by its end."""
    now = datetime.now(UTC)
    heard: list[Delivery] = []
    busy = Script(rules=(Rule(answer=Refuse(status=503, reason="ServiceUnavailable")),))
    with FakeApnsProcess(trust.certificates, busy, is_strict=True) as apns:
        apns.post.go_online(token, TOPIC, heard.append)
        async with (
            apns.collecting(),
            open_push_client(apns.host, apns.port, trust.client) as client,
        ):
            unknown = await client.ask(push_headers(token, TOPIC))
            apns.add_token(token, TOPIC)
            while (refused := await client.ask(push_headers(token, TOPIC))).status == 400:
                pass  # until the command is through
            apns.play(Script())
            while (await client.ask(push_headers(token, TOPIC))).status != 200:
                pass
            apns.retire_token(token, now - timedelta(hours=1))
            while (gone := await client.ask(push_headers(token, TOPIC))).status == 200:
                pass
            apns.go_away_all(GoAway(last_stream=LastStream.ANY))
            await client.until_lost()
    assert json.loads(unknown.body) == {"reason": "BadDeviceToken"}
    assert (refused.status, gone.status) == (503, 410)
    assert json.loads(client.go_aways[0][1]) == {"reason": "Shutdown"}
    accepted = apns.log.accepted()[token]
    assert len(heard) == accepted >= 1
    assert {record.fate for record in apns.log.records} == {Fate.ANSWERED}
    assert len(apns.log.records) == len(client.answers)
    assert (apns.log.connections, apns.log.protocol_errors) == (1, [])
