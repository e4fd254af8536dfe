"""The embedded servers start cold and warm, survive kill -9, and die with their parent."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from passmill.embedded import DataDirectoryInUse, EmbeddedServerError, EmbeddedServers

# A process that starts the servers, says so, and waits to be killed.
PARENT = """
import asyncio, sys
from pathlib import Path
from passmill.embedded import EmbeddedServers

async def main():
    async with EmbeddedServers(Path(sys.argv[1]) if len(sys.argv) > 1 else None) as servers:
        print(servers.postgres.pid, servers.valkey.pid, servers.redis_url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def write(servers: EmbeddedServers) -> None:
    """Leaves a row and a key behind."""
    connection = await asyncpg.connect(servers.owner_url)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    await connection.close()
    async with redis.asyncio.Redis.from_url(servers.redis_url) as valkey:
        await valkey.set("kept", "7")


async def read(servers: EmbeddedServers) -> tuple[int, bytes | str | None]:
    """The row and the key that `write` left."""
    connection = await asyncpg.connect(servers.owner_url)
    row: int = await connection.fetchval("SELECT n FROM kept")
    await connection.close()
    async with redis.asyncio.Redis.from_url(servers.redis_url) as valkey:
        return row, await valkey.get("kept")


def start(*command: str) -> subprocess.Popen[str]:
    """A process of our own whose output we read."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def start_parent(*arguments: Path) -> subprocess.Popen[str]:
    """Another process that runs the servers."""
    return start(sys.executable, "-c", PARENT, *map(str, arguments))


async def gone(*pids: int) -> None:
    """Returns when none of the processes runs any more (a zombie does not run)."""
    async with asyncio.timeout(30):
        while any(is_running(pid) for pid in pids):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return status.read_text().rpartition(")")[2].split()[0] != "Z" if status.exists() else True
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_throw_away_servers_leave_nothing() -> None:
    """Without a data directory both servers answer, and afterwards no process or file is left."""
    async with EmbeddedServers() as servers:
        await write(servers)
        assert await read(servers) == (7, b"7")
        pids = (servers.postgres.pid, servers.valkey.pid)
        folder = Path(servers.redis_url.removeprefix("unix://")).parents[1]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not any(is_running(pid) for pid in pids)
    assert not folder.exists()


async def test_application_role_owns_nothing() -> None:
    """The application's role is not the owner's and has none of the powerful attributes."""
    async with EmbeddedServers() as servers:
        connection = await asyncpg.connect(servers.database_url)
        row = await connection.fetchrow(
            "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls "
            "FROM pg_roles WHERE rolname = current_user"
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE public.mine (n int)")
        await connection.close()
    assert row is not None
    assert tuple(row) == ("passmill_app", False, False, False, False)


async def test_data_is_kept_between_starts(tmp_path: Path) -> None:
    """A second start on the same directory finds what the first one stored."""
    async with EmbeddedServers(tmp_path) as servers:
        await write(servers)
    async with EmbeddedServers(tmp_path) as servers:
        assert await read(servers) == (7, b"7")


async def test_kill_nine_of_servers_loses_nothing(tmp_path: Path) -> None:
    """Both servers killed -9: the context still ends, and the next start has row and key."""
    async with EmbeddedServers(tmp_path) as servers:
        await write(servers)
        os.kill(servers.postgres.pid, signal.SIGKILL)
        os.kill(servers.valkey.pid, signal.SIGKILL)
        await gone(servers.postgres.pid, servers.valkey.pid)
        assert not servers.postgres.is_running
    async with EmbeddedServers(tmp_path) as servers:
        assert await read(servers) == (7, b"7")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
async def test_servers_follow_a_killed_parent(tmp_path: Path) -> None:
    """kill -9 of the process that started them stops both servers by itself."""
    with start_parent(tmp_path) as parent:
        assert parent.stdout is not None
        postgres, valkey, _ = parent.stdout.readline().split()
        parent.kill()
    await gone(int(postgres), int(valkey))
    async with EmbeddedServers(tmp_path):
        pass  # removes the folder of sockets


async def test_start_right_after_a_killed_parent(tmp_path: Path) -> None:
    """The next start does not stumble over servers of a killed parent that are still stopping."""
    for _ in range(3):
        with start_parent(tmp_path) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline()
            parent.kill()
        async with EmbeddedServers(tmp_path) as servers:
            connection = await asyncpg.connect(servers.database_url)
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()


async def test_folder_of_a_killed_process_is_swept() -> None:
    """A throw-away folder whose process was killed goes away with the next start."""
    with start_parent() as parent:
        assert parent.stdout is not None
        postgres, valkey, url = parent.stdout.readline().split()
        parent.kill()
    folder = Path(url.removeprefix("unix://")).parents[1]
    await gone(int(postgres), int(valkey))
    assert folder.exists()
    async with EmbeddedServers():
        assert not folder.exists()


async def test_a_data_directory_has_one_process(tmp_path: Path) -> None:
    """A second start on a directory in use is refused, and the first goes on."""
    async with EmbeddedServers(tmp_path) as servers:
        with pytest.raises(DataDirectoryInUse, match=str(tmp_path)):
            await EmbeddedServers(tmp_path).__aenter__()
        await write(servers)


async def test_stale_pid_file_of_a_stranger_is_ignored(tmp_path: Path) -> None:
    """A pid file left behind whose number is another process's now: that process is left alone."""
    async with EmbeddedServers(tmp_path) as servers:
        await write(servers)
    with start("sleep", "60") as stranger:
        (tmp_path / "valkey" / "valkey.pid").write_text(f"{stranger.pid}\n")
        async with EmbeddedServers(tmp_path) as servers:
            assert await read(servers) == (7, b"7")
        assert stranger.poll() is None
        stranger.kill()


async def test_interrupted_initdb_is_begun_again(tmp_path: Path) -> None:
    """Half a cluster of an interrupted first start does not keep the next one from working."""
    (tmp_path / "postgres.partial").mkdir()
    (tmp_path / "postgres.partial" / "PG_VERSION").write_text("18\n")
    async with EmbeddedServers(tmp_path) as servers:
        await write(servers)


async def test_foreign_version_is_named(tmp_path: Path) -> None:
    """A cluster of another PostgreSQL version is refused with both versions and the way out."""
    async with EmbeddedServers(tmp_path):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 9,.*PASSMILL_PG_BIN"):
        await EmbeddedServers(tmp_path).__aenter__()


async def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error of a server that stops at start ends with what the server itself wrote."""
    async with EmbeddedServers(tmp_path):
        pass
    (tmp_path / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        await EmbeddedServers(tmp_path).__aenter__()


def test_urls_before_the_start_are_refused() -> None:
    """A URL asked for before the servers run is an error, not a wrong address."""
    with pytest.raises(EmbeddedServerError, match="async with"):
        _ = EmbeddedServers().database_url


async def test_the_owner_drops_a_database_in_use() -> None:
    """DROP DATABASE … WITH (FORCE) by the owner's role ends sessions of the application's role."""
    async with EmbeddedServers() as servers:
        owner = await asyncpg.connect(servers.owner_url)
        await owner.execute("CREATE DATABASE used")
        left_open = await asyncpg.connect(servers.database_url, database="used")
        await owner.execute("DROP DATABASE used WITH (FORCE)")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await left_open.fetchval("SELECT 1")
        left_open.terminate()
        await owner.close()
