"""Redis servers of a test's own, to be killed, filled up and lost; and a proxy before one."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redis.asyncio

from passmill.embedded.binaries import find_valkey
from passmill.embedded.process import ServerProcess

HOST = "127.0.0.1"


def redis_binaries() -> list[Path]:
    """Every server there is on this machine: the tests' own, and the system's."""
    found = [find_valkey()]
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path and Path(on_path).resolve() not in [each.resolve() for each in found]:
            found.append(Path(on_path))
    return found


class PrivateRedis:
    """A server in a folder, on a port that stays its own."""

    def __init__(self, folder: Path, *, binary: Path | None = None, **options: str) -> None:
        self._folder = folder
        self.bus_port = _free_port()
        self._binary = binary or find_valkey()
        self._options = options
        self._process: ServerProcess | None = None
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{HOST}:{self.port}/0"

    async def start(self) -> None:
        """Starts it on what is in its folder."""
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
            **{name.replace("_", "-"): text for name, text in self._options.items()},
        }
        if "cluster-enabled" in options:
            options["cluster-port"] = str(self.bus_port)
        command = [str(self._binary)]
        for name, text in options.items():
            command += [f"--{name}", text]
        self._process = ServerProcess(
            user="self",
            command=command,
            stop_signal=signal.SIGTERM,
            log=self._folder / "server.log",
        )
        await self._process.wait_ready(self._answers)

    async def kill(self) -> None:
        """Ends it as a power cut does."""
        if self._process is not None:
            await self._process.stop(signal.SIGKILL)
            self._process = None

    def forget_files(self) -> None:
        """Removes what it wrote to its folder, so that it starts empty."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def save_files(self, to: Path) -> None:
        """Copies what it wrote."""
        shutil.copytree(self._folder, to)

    def restore_files(self, saved: Path) -> None:
        """Puts an older state back; the server is not running."""
        self.forget_files()
        shutil.copytree(saved, self._folder, dirs_exist_ok=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis(host=HOST, port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def open_redis_server(
    folder: Path, *, binary: Path | None = None, **options: str
) -> AsyncIterator[PrivateRedis]:
    """A server that runs, and is gone in the end."""
    server = PrivateRedis(folder, binary=binary, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def open_cluster(
    folder: Path, *, binary: Path | None = None
) -> AsyncIterator[list[PrivateRedis]]:
    """Three nodes that share the slots, without replicas; what is on a node goes with it."""
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                open_redis_server(
                    folder / str(number),
                    binary=binary,
                    cluster_enabled="yes",
                    cluster_require_full_coverage="no",
                    cluster_node_timeout="1000",
                )
            )
            for number in range(3)
        ]
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(nodes):
            await _ask(node, "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            await _ask(node, "SET-CONFIG-EPOCH", number + 1)
            for other in nodes[:number]:
                await _ask(node, "MEET", HOST, other.port, other.bus_port)
        async with asyncio.timeout(30):
            for node in nodes:
                while not await _is_joined(node):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
        yield nodes


async def _is_joined(node: PrivateRedis) -> bool:
    info = await _ask(node, "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


async def _ask(node: PrivateRedis, *words: str | int) -> bytes:
    async with redis.asyncio.Redis.from_url(node.url) as client:
        reply: bytes = await client.execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call]
        return reply


@dataclass
class Proxy:
    """Stands before a server and does what networks do."""

    port: int = 0
    delay_seconds: float = 0.0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{HOST}:{self.port}/0"

    def reset_all(self) -> None:
        """Cuts every connection by RST."""
        for writer in self._writers:
            if not writer.is_closing():
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


@asynccontextmanager
async def open_proxy(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy before a port of this machine."""
    proxy = Proxy()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while content := await reader.read(1 << 16):
                await asyncio.sleep(proxy.delay_seconds)
                writer.write(content)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, target_port)
        except OSError:
            writer.close()
            return
        proxy._writers |= {writer, back}
        try:
            await asyncio.gather(pump(reader, back), pump(there, writer))
        except asyncio.CancelledError:
            return  # the test is over
        finally:
            proxy._writers -= {writer, back}

    server = await asyncio.start_server(serve, HOST, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.reset_all()
        server.close()
