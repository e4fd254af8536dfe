"""aioapns as a contender. Runs with the Python of an environment of its own, which has nothing of
ours: started by `bench/push.py`.

Apple's answers have a header `apns-id`, by which aioapns finds their push, and no DATA frame, not
even an empty one, which it cannot read; nghttpd's are the other way round. So what h2 has read is
made to look like Apple's, which costs a microsecond or two of some hundred.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

import uvloop
from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsProductionClientProtocol
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived
from typing_extensions import Buffer

TOPIC = "pass.example.coffee"
CALL = 1000


class ApplesConnection(H2Connection):
    """Answers as Apple's."""

    def __init__(self, streams: dict[int, str]) -> None:
        super().__init__()
        self._streams = streams

    def receive_data(self, data: Buffer) -> list[Event]:
        """What came, each answer with its push's id, and no empty DATA."""
        events = [
            event
            for event in super().receive_data(data)
            if not isinstance(event, DataReceived) or event.data
        ]
        for event in events:
            if isinstance(event, ResponseReceived):
                name = self._streams[event.stream_id].encode()
                event.headers = [*event.headers, (b"apns-id", name)]
        return events


class SinkProtocol(APNsProductionClientProtocol):  # type: ignore[misc] # it is not here
    """aioapns' own, but for the address."""

    APNS_SERVER = "localhost"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.conn = ApplesConnection(self.request_streams)


async def main(folder: Path, port: int) -> None:
    """Takes turns: `CALL` pushes at a time over one connection."""
    tokens = sorted(path.name for path in (folder / "3" / "device").iterdir())[:CALL]
    both = folder / "pass-both.pem"
    both.touch(mode=0o600)
    both.write_bytes((folder / "pass.pem").read_bytes() + (folder / "pass-key.pem").read_bytes())
    context = ssl.create_default_context(cafile=str(folder / "root.pem"))
    context.set_alpn_protocols(["h2"])
    SinkProtocol.APNS_PORT = port
    client = APNs(client_cert=str(both), topic=TOPIC, max_connections=1, ssl_context=context)
    client.pool.protocol_class = SinkProtocol

    async def work() -> int:
        answers = await asyncio.gather(
            *(
                client.send_notification(
                    NotificationRequest(
                        device_token=token,
                        message={},
                        time_to_live=0,
                        priority=5,
                        push_type=PushType.BACKGROUND,
                    )
                )
                for token in tokens
            )
        )
        if not all(answer.is_successful for answer in answers):
            raise SystemExit("not accepted")
        return len(tokens)

    await work()
    print(json.dumps({"ready": True}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        length, passes = float(line), 0
        started, cpu = time.monotonic(), time.process_time()
        while time.monotonic() - started < length:
            passes += await work()
        seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
        answer = {"passes": passes, "seconds": seconds, "cpu_seconds": cpu_seconds}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
