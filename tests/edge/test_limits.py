"""What the edge takes on, and from whom no more."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from types import CoroutineType

import httpx
import pytest

from passmill.edge.server import ServerEnded
from tests.edge.rig import (
    HOST,
    PUSH_TOKEN,
    Edge,
    hold,
    open_client,
    open_edge_on,
    register,
    tls_context,
)
from tests.support.service import Club, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"


@contextlib.asynccontextmanager
async def connect(edge: Edge, *protocols: str) -> AsyncIterator[Stream]:
    """A connection that has shaken hands, for these protocols by ALPN."""
    context = tls_context()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    reader, writer = await asyncio.open_connection(HOST, edge.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the edge closes, however it does. The test's own time limit is the bound."""
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := await reader.read(65536):
            received += chunk
    return received


@pytest.fixture(params=[True, False], ids=["http2", "http1"])
def http2(request: pytest.FixtureRequest) -> bool:
    """Both protocols."""
    return bool(request.param)


async def test_speaks_both_protocols(edge: Edge, http2: bool) -> None:
    """The protocol is agreed on by ALPN, and both have the same routes."""
    async with open_client(edge.port, http2=http2) as client:
        answer = await client.get("/v1/passes/a/b")
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert answer.status_code == 401


async def test_old_tls_is_refused(edge: Edge) -> None:
    """TLS 1.2 is spoken, TLS 1.1 is not."""
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await asyncio.open_connection(HOST, edge.port, ssl=context)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    writer.close()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(HOST, edge.port, ssl=context)


async def test_bodies_are_bounded(edge: Edge, club: Club, http2: bool) -> None:
    """A body over its route's limit is 413, announced or not, and the next request is served."""
    held = await hold(club)

    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1000

    async with open_client(edge.port, http2=http2) as client:
        for content in (b" " * 8193, in_pieces()):
            answer = await client.post(
                held.registration(), headers=held.authorization, content=content
            )
            assert (answer.status_code, answer.json()) == (413, {"error": "too_large"})
        answer = await client.post("/v1/log", content=b" " * 65537)
        assert answer.status_code == 413
        assert (await register(client, held)).status_code == 201


async def test_heads_are_bounded(edge: Edge) -> None:
    """A head over 16 KiB ends at the server."""
    async with open_client(edge.port, http2=False) as client:
        answer = await client.get("/healthz", headers={"x-large": "x" * 20_000})
        assert answer.status_code == 431
    async with open_client(edge.port) as client:
        with contextlib.suppress(httpx.RemoteProtocolError):
            answer = await client.get("/healthz", headers={"x-large": "x" * 20_000})
            assert answer.status_code == 431
    assert (await edge.client.get("/healthz")).status_code == 200


async def test_one_address_may_ask_so_often(service: Service) -> None:
    """After its burst an address gets 429 with a time to come back; another one, told by a proxy
    that is trusted, is served meanwhile."""
    async with open_edge_on(
        service.settings, client_rate=0.01, client_burst=5, trusted_proxies=["127.0.0.0/8", "::1"]
    ) as edge:

        async def ask(address: str) -> httpx.Response:
            return await edge.client.get("/v1/passes/a/b", headers={"x-forwarded-for": address})

        statuses = [(await ask("192.0.2.1")).status_code for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
        refused = await ask("192.0.2.1, 127.0.0.1")
        assert (refused.status_code, refused.json()) == (429, {"error": "rate_limited"})
        assert int(refused.headers["retry-after"]) >= 1
        assert (await ask("192.0.2.2")).status_code == 401
        assert (await ask("192.0.2.1, 192.0.2.3")).status_code == 401
        assert [(await ask(f"2001:db8::{n}")).status_code for n in range(1, 7)] == [401] * 5 + [429]
        assert (await edge.client.get("/healthz")).status_code == 200
        assert edge.sample("passmill_edge_refusals_total", reason="rate_limited") == 4


async def test_busy_is_said(service: Service) -> None:
    """More requests at once than the edge takes are 503 with a time to come back; when those that
    were at work end, others are served."""
    async with open_edge_on(service.settings, max_requests=3, request_seconds=2) as edge:
        waiting = [asyncio.create_task(post_slowly(edge)) for _ in range(3)]
        while True:  # until all three are at work
            refused = await edge.client.get("/v1/passes/a/b")
            if refused.status_code == 503:
                break
        assert refused.json() == {"error": "busy"}
        assert refused.headers["retry-after"] == "1"
        assert {answer.split(b" ")[1] for answer in await asyncio.gather(*waiting)} == {b"408"}
        assert (await edge.client.get("/v1/passes/a/b")).status_code == 401


async def post_slowly(edge: Edge) -> bytes:
    """Announces a body and sends a byte of it now and then; gives what comes back."""
    async with connect(edge, "http/1.1") as (reader, writer):
        writer.write(b"POST /v1/log HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
        reading = asyncio.create_task(read_to_end(reader))
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.2)
        return await reading


async def test_slow_clients_are_cut(service: Service) -> None:
    """Whoever dribbles a head or a body, is silent after the handshake, or keeps a connection for
    nothing, loses it, in either protocol, while others are served."""
    async with open_edge_on(
        service.settings, idle_seconds=1, header_seconds=1, request_seconds=1
    ) as edge:

        async def silent(*protocols: str, first: bytes = b"") -> bytes:
            async with connect(edge, *protocols) as (reader, writer):
                writer.write(first)
                return await read_to_end(reader)

        async def dribble() -> bytes:
            async with connect(edge, "http/1.1") as (reader, writer):
                writer.write(REQUEST)
                reading = asyncio.create_task(read_to_end(reader))
                with contextlib.suppress(ConnectionError):
                    while not reading.done():
                        writer.write(b"x-a: b\r\n")
                        await writer.drain()
                        await asyncio.sleep(0.2)
                return await reading

        served, *cut, dribbled, posted = await asyncio.gather(
            silent("http/1.1", first=REQUEST + b"\r\n"),
            silent(),
            silent("http/1.1"),
            silent("h2"),
            silent("h2", first=HTTP2_PREFACE),
            dribble(),
            post_slowly(edge),
        )
        assert served.startswith(b"HTTP/1.1 200 ")
        assert cut[:3] == [b"", b"", b""]
        assert b"200" not in dribbled.split(b"\r\n")[0]
        assert posted.startswith(b"HTTP/1.1 408 ")
        assert edge.sample("passmill_edge_connections_cut_total", cause="idle") >= 4
        assert (await edge.client.get("/healthz")).status_code == 200


async def test_slow_readers_are_cut(service: Service, club: Club) -> None:
    """Whoever asks for bundles and does not read them loses the connection."""
    held = await hold(club)
    request = (
        f"GET {held.path} HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: ApplePass {held.token}\r\n\r\n"
    ).encode()
    async with open_edge_on(service.settings, idle_seconds=1) as edge:
        # The reader stops reading once it has twice its limit; the kernels' buffers fill up then.
        with socket.socket() as small:
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.connect(("127.0.0.1", edge.port))
            reader, writer = await asyncio.open_connection(
                sock=small.dup(), ssl=tls_context(), server_hostname=HOST, limit=1024
            )
        with contextlib.suppress(ConnectionError):
            while not edge.sample("passmill_edge_connections_cut_total", cause="slow"):
                writer.write(request * 20)
                await asyncio.sleep(0.01)
        writer.transport.abort()
        assert (await edge.client.get("/healthz")).status_code == 200
        del reader


async def test_silent_connections_do_not_lock_out(service: Service) -> None:
    """With all places taken by the silent, the next client is served once they are cut, which
    happens the sooner the fewer places are left."""
    async with (
        open_edge_on(
            service.settings, max_connections=64, idle_seconds=8, header_seconds=30
        ) as edge,
        contextlib.AsyncExitStack() as stack,
    ):
        connections = [await stack.enter_async_context(connect(edge, "h2")) for _ in range(64)]
        async with open_client(edge.port) as client:
            assert (await client.get("/v1/passes/a/b")).status_code == 401
        assert any(reader.at_eof() for reader, _ in connections)


async def test_deadline_of_a_request(service: Service, club: Club) -> None:
    """A request that the database keeps waiting is 503 when its time is over, and leaves nothing
    behind."""
    held = await hold(club)
    async with open_edge_on(service.settings, request_seconds=1) as edge:
        assert (await register(edge.client, held)).status_code == 201
        database = service.services.database
        async with database.transaction(club.tenant.caller) as tx:
            await tx.execute("LOCK TABLE registrations IN ACCESS EXCLUSIVE MODE")
            refused = await edge.client.delete(held.registration(), headers=held.authorization)
            assert refused.status_code == 503
            assert refused.json()["error"] in {"deadline", "unavailable"}
            assert refused.headers["retry-after"] == "1"
        answer = await edge.client.get(held.list_path())
        assert answer.json()["serialNumbers"] == [held.serial_number]


async def serve_until_it_ends(service: Service, way: str) -> None:
    """Opens an edge, ends its server behind its back and waits."""
    others = asyncio.all_tasks()
    async with open_edge_on(service.settings):
        opened = asyncio.all_tasks() - others
        workers = {
            worker: task
            for task in opened
            if isinstance(worker := task.get_coro(), CoroutineType)
            and worker.__name__ == "_spawn_asgi_worker"
        }
        [(worker, task)] = workers.items()
        if way == "cancelled":
            task.cancel()
        else:
            assert worker.cr_frame is not None
            worker.cr_frame.f_locals["fut"].set_result(None)
        await asyncio.Event().wait()


@pytest.mark.parametrize("way", ["returns", "cancelled"])
async def test_a_server_that_ends_is_an_error(service: Service, way: str) -> None:
    """When the server ends though nobody told it to, the edge does so too, with an error, however
    the server came to it: its process is started anew, and does not live on without ears."""
    with pytest.raises(BaseExceptionGroup) as ended:
        await serve_until_it_ends(service, way)
    assert ended.group_contains(ServerEnded)


async def test_gone_clients(edge: Edge) -> None:
    """A client that leaves in the middle of its request is no fault of ours."""
    before = edge.sample("passmill_edge_refusals_total", reason="internal")
    for _ in range(5):
        async with connect(edge, "http/1.1") as (_, writer):
            writer.write(b"POST /v1/log HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
            await writer.drain()
    assert (await edge.client.post("/v1/log", json={"logs": []})).status_code == 200
    assert edge.sample("passmill_edge_refusals_total", reason="internal") == before


async def test_registrations_at_once(edge: Edge, club: Club) -> None:
    """Of 200 registrations of one device and pass at once, half of them with another token, exactly
    one is 201 and one row is left, with a token that the last one committed gave."""
    held = await hold(club)
    answers = await asyncio.gather(
        *(
            register(edge.client, held, push_token=PUSH_TOKEN if n % 2 else "b2" * 32)
            for n in range(200)
        )
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 199 + [201]
    assert await club.tenant.count("registrations") == 1
    [device] = await club.tenant.fetch("SELECT push_token FROM devices")
    assert device["push_token"] in {PUSH_TOKEN, "b2" * 32}
    assert (await register(edge.client, held, push_token="c3" * 32)).status_code == 200
    [device] = await club.tenant.fetch("SELECT push_token FROM devices")
    assert device["push_token"] == "c3" * 32
