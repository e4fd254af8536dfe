"""Processes that are killed and ended while callers issue: what was acknowledged is there, a retry
is answered as the first time, and nobody has two passes."""

import asyncio
import logging
import os
import random
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event, Thread

import grpc
import pytest
from google.protobuf.message import Message

from passmill.settings import AdminDoor, ApiDoor, Exposition, Settings
from passmill.supervisor import Supervisor
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassRef
from tests.support.bundles import verify
from tests.support.channels import keyed, send_bytes
from tests.support.postgres import Database
from tests.support.service import (
    Club,
    SetClock,
    Tenant,
    authority,
    meta,
    open_service,
    service_settings,
)
from tests.support.serving import environment_of, serve
from tests.support.small_card import draft

pytestmark = pytest.mark.timeout(150)

REQUESTS = 300
KILLS = 5
AT_ONCE = 16
SERVICE = "/passmill.v1.PassService"
# What a caller may see of a server that is going away; each is answered with a retry.
GONE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
}
EAGER = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),  # the test's own retries are what is looked at
]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it is sent each time."""

    method: str
    content: bytes


class Caller:
    """Sends requests until they are answered, and keeps the answers."""

    def __init__(
        self, channel: grpc.aio.Channel, api_key: str, *, waits_for_server: bool = True
    ) -> None:
        self._channel = channel
        self._waits_for_server = waits_for_server
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self.answers: dict[Sent, bytes] = {}
        self.retries = 0

    async def once(self, sent: Sent) -> bytes:
        """One try."""
        answer = await send_bytes(
            self._channel,
            f"{SERVICE}/{sent.method}",
            sent.content,
            timeout=10.0,
            metadata=self._metadata,
            wait_for_ready=self._waits_for_server,
        )
        self.answers[sent] = answer
        return answer

    async def until_answered(self, method: str, request: Message) -> bytes:
        """As many tries as it takes."""
        sent = Sent(method, request.SerializeToString())
        while True:
            try:
                return await self.once(sent)
            except grpc.aio.AioRpcError as error:
                assert error.code() in GONE, error  # noqa: PT017
                self.retries += 1


@contextmanager
def supervised(settings: Settings, *, processes: int) -> Iterator[Supervisor]:
    """API processes whose parent watches over them."""
    environment = {
        name: text
        for name, text in environment_of(settings).items()
        if name.startswith("PASSMILL_")
    }
    with Supervisor(
        api=ApiDoor(port=0),
        admin=AdminDoor(port=0),
        exposition=Exposition(port=0),
        processes=processes,
        drain_seconds=10,
        environment=environment,
    ) as supervisor:
        stop = Event()
        watching = Thread(target=supervisor.run, args=(stop,))
        watching.start()
        try:
            yield supervisor
        finally:
            stop.set()
            watching.join()


async def make_club(settings: Settings) -> Club:
    """A tenant that can issue."""
    async with open_service(settings.database_url.get_secret_value(), settings=settings) as service:
        return await service.add_club()


def issue_request(club: Club, name: str) -> pb.IssuePassRequest:
    """A request to issue a pass to somebody."""
    return pb.IssuePassRequest(template_id=club.template_id, draft=draft(name), meta=meta())


def rename_request(issued: Pass, name: str) -> pb.UpdatePassRequest:
    """A request to name the holder otherwise."""
    request = pb.UpdatePassRequest(
        ref=PassRef(pass_id=issued.pass_id),
        wallet_pass=Pass(holder=Holder(name=name)),
        meta=meta(),
    )
    request.update_mask.paths.append("holder.name")
    return request


async def test_kills_under_load(database: Database) -> None:
    """While callers issue and change passes, API processes are killed at random moments. In the end
    every request was answered, its retry gives the same bytes, each made exactly one pass or one
    change, and every bundle verifies."""
    seed = random.SystemRandom().getrandbits(32)
    logging.getLogger(__name__).warning("seed %d", seed)
    dice = random.Random(seed)  # noqa: S311 - for moments, not for secrets
    settings = service_settings(database.url)
    club = await make_club(settings)
    api_key = club.tenant.member.api_key
    # After so many answers each process dies.
    moments = sorted(dice.sample(range(20, 2 * REQUESTS - 100), KILLS))
    names = [f"Name {number}" for number in range(REQUESTS)]
    with supervised(settings, processes=2) as supervisor:
        address = f"127.0.0.1:{supervisor.api_port}"
        async with (
            grpc.aio.insecure_channel(address, options=EAGER) as first,
            grpc.aio.insecure_channel(address, options=EAGER) as second,
        ):
            callers = [Caller(channel, api_key) for channel in (first, second)]

            async def issue(caller: Caller) -> None:
                while names:
                    name = names.pop()
                    answer = await caller.until_answered("IssuePass", issue_request(club, name))
                    issued = pb.IssuePassResponse.FromString(answer).wallet_pass
                    await caller.until_answered("UpdatePass", rename_request(issued, f"{name}!"))
                    alive = supervisor.process_ids
                    answered = sum(len(each.answers) for each in callers)
                    if moments and answered > moments[0] and alive:
                        moments.pop(0)
                        os.kill(dice.choice(alive), signal.SIGKILL)

            async with asyncio.TaskGroup() as tasks:
                for at in range(AT_ONCE):
                    tasks.create_task(issue(callers[at % 2]))
    assert not moments
    assert sum(caller.retries for caller in callers) > 0
    await check_everything(settings, club, callers[0].answers | callers[1].answers)


async def check_everything(settings: Settings, club: Club, answers: dict[Sent, bytes]) -> None:
    """Looks at what is there, with a service some minutes later."""
    clock = SetClock()
    clock.advance(timedelta(minutes=5))
    url = settings.database_url.get_secret_value()
    async with open_service(url, settings=settings, clock=clock) as service:
        key = club.tenant.member.api_key
        channel = keyed(service.api, key)
        for sent, answer in answers.items():
            path = f"{SERVICE}/{sent.method}"
            assert await send_bytes(channel, path, sent.content) == answer
        tenant = Tenant(
            service=service, tenant_id=club.tenant.tenant_id, member=service.member(key)
        )
        async with asyncio.timeout(30):
            while await tenant.count("signing_intents"):
                await service.services.finish_signing.sweep()
        again = replace(club, tenant=tenant)
        rows = await tenant.fetch("SELECT pass_id, holder_name, version FROM passes")
        assert sorted(row["holder_name"] for row in rows) == sorted(
            f"Name {number}!" for number in range(REQUESTS)
        )
        assert {row["version"] for row in rows} == {2}
        issued = {
            pb.IssuePassResponse.FromString(answer).wallet_pass.pass_id
            for sent, answer in answers.items()
            if sent.method == "IssuePass"
        }
        assert {str(row["pass_id"]) for row in rows} == issued
        events = await tenant.fetch(
            "SELECT kind, count(*) FROM outbox WHERE kind LIKE 'pass.%' GROUP BY kind"
        )
        assert {row["kind"]: row["count"] for row in events} == {
            "pass.issued": REQUESTS,
            "pass.updated": REQUESTS,
        }
        for row in rows:
            bundle = await again.bundle(Pass(pass_id=str(row["pass_id"])))
            shown = verify(bundle, authority())
            assert shown["generic"]["primaryFields"][0]["value"] == row["holder_name"]


async def test_sigterm_under_load(database: Database) -> None:
    """Told to end while callers issue, the service answers every call it has taken, takes no more,
    and ends with status 0: what is in the database was answered, to the last request."""
    settings = service_settings(database.url)
    club = await make_club(settings)
    api_key = club.tenant.member.api_key
    with serve(settings, processes=2) as serving:
        channels = [grpc.aio.insecure_channel(serving.api_address, options=EAGER) for _ in range(4)]
        callers = [Caller(channel, api_key, waits_for_server=False) for channel in channels]
        under_way = asyncio.Event()
        stopping = False

        async def issue(caller: Caller) -> None:
            while True:
                request = issue_request(club, "x")
                sent = Sent("IssuePass", request.SerializeToString())
                try:
                    await caller.once(sent)
                except grpc.aio.AioRpcError as error:
                    assert stopping and error.code() in GONE, error  # noqa: PT017, PT018
                    return
                if sum(len(each.answers) for each in callers) > 200:
                    under_way.set()

        async with asyncio.TaskGroup() as tasks:
            for at in range(AT_ONCE):
                tasks.create_task(issue(callers[at % 4]))
            await under_way.wait()
            stopping = True
            status, errors = await asyncio.to_thread(serving.terminate)
        assert status == 0, errors
        assert "process_killed" not in errors
        for channel in channels:
            await channel.close()
    acknowledged = {
        uuid.UUID(pb.IssuePassRequest.FromString(sent.content).meta.request_id)
        for caller in callers
        for sent in caller.answers
    }
    async with open_service(database.url, settings=settings) as service:
        tenant = Tenant(
            service=service, tenant_id=club.tenant.tenant_id, member=service.member(api_key)
        )
        rows = await tenant.fetch(
            "SELECT request_id FROM request_answers WHERE method = 'PassService/IssuePass'"
        )
        assert {uuid.UUID(int=row["request_id"].int) for row in rows} == acknowledged
        unsigned = await tenant.fetch("SELECT FROM passes WHERE signature IS NULL")
        assert not unsigned
        assert await tenant.count("signing_intents") == 0
