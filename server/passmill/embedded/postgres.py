"""PostgreSQL: one cluster below the data directory, reached by a unix socket alone."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg

from passmill.embedded.binaries import find_postgres
from passmill.embedded.errors import EmbeddedServerError
from passmill.embedded.leftover import read_pid, stop_leftover
from passmill.embedded.process import ServerProcess, User, make_directory, run_tool

SUPERUSER = "postgres"
OWNER = "passmill_owner"
APPLICATION = "passmill_app"
DATABASE = "passmill"
BUILTIN_LOCALE_SINCE = 17


async def start_postgres(
    *, home: Path, sockets: Path, user: User, durable: bool, log: Path
) -> ServerProcess:
    """Starts PostgreSQL on the cluster `home`, made when it is not there yet.

    Afterwards the database `passmill` exists, with `passmill_owner` (may migrate, create and drop
    databases) and `passmill_app` (owns nothing). Without `durable` a crash of the machine loses
    data; a crash of the server alone does not. Raises EmbeddedServerError.
    """
    binaries = find_postgres()
    if not (home / "PG_VERSION").exists():
        _make_cluster(binaries, home, user, durable=durable)
    _refuse_other_version(binaries, home)
    await stop_leftover(home / "postmaster.pid", home, signal.SIGINT)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "port": "5432",
        "max_connections": "200",
        "shared_buffers": "128MB",
        # A campaign writes gigabytes: checkpoints by time, not by the volume of the log.
        "max_wal_size": "4GB",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    command = [str(binaries / "postgres"), "-D", str(home)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    server = ServerProcess(user=user, command=command, stop_signal=signal.SIGINT, log=log)
    try:
        await server.wait_ready(lambda: _is_ready(home, server.pid))
        await _make_database(sockets)
    except BaseException:
        await server.stop()
        raise
    return server


def postgres_url(sockets: Path, *, user: str, database: str = DATABASE) -> str:
    """The URL asyncpg and libpq take for a socket directory; no password, the directory is 0700."""
    return f"postgresql://{user}@/{database}?host={sockets}"


def _make_cluster(binaries: Path, home: Path, user: User, *, durable: bool) -> None:
    """Runs initdb beside `home` and renames, so that an interrupted one leaves no half cluster."""
    partial = home.with_name(home.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    make_directory(partial, user)
    if _major_version(binaries) >= BUILTIN_LOCALE_SINCE:
        # The same everywhere; `C.UTF-8` of the C library does not exist on macOS.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    run_tool(
        user,
        [
            str(binaries / "initdb"),
            f"--pgdata={partial}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            *locale,
            *([] if durable else ["--no-sync"]),
        ],
    )
    partial.rename(home)


def _major_version(binaries: Path) -> int:
    done = subprocess.run(
        [str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\d+", done.stdout)
    if done.returncode != 0 or found is None:
        raise EmbeddedServerError(f"{binaries}/postgres does not run: {done.stderr.strip()}")
    return int(found.group())


def _refuse_other_version(binaries: Path, home: Path) -> None:
    made_by = int((home / "PG_VERSION").read_text())
    found = _major_version(binaries)
    if made_by != found:
        raise EmbeddedServerError(
            f"{home} was made by PostgreSQL {made_by}, but {binaries} is PostgreSQL {found}: "
            "set PASSMILL_PG_BIN to the binaries of that version, or use another data directory"
        )


def _is_ready(home: Path, pid: int) -> bool:
    """postmaster.pid: our pid on line 1 (a stale file survives kill -9), the state on line 8."""
    pid_file = home / "postmaster.pid"
    if read_pid(pid_file) != pid:
        return False
    lines = pid_file.read_text().splitlines()
    return len(lines) >= 8 and lines[7].strip() == "ready"


async def _make_database(sockets: Path) -> None:
    """Makes the roles and the database that are not there; safe to repeat after a crash."""
    url = postgres_url(sockets, user=SUPERUSER, database="postgres")
    connection = await asyncpg.connect(url, timeout=30)
    try:
        for role, options in ((OWNER, "LOGIN CREATEDB"), (APPLICATION, "LOGIN")):
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} {options}")
        # DROP DATABASE … WITH (FORCE) ends sessions of the application's role.
        await connection.execute(f"GRANT pg_signal_backend TO {OWNER}")
        known = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE)
        if not known:
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await connection.close(timeout=5)
