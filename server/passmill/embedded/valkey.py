"""Valkey (or Redis): one server, reached by a unix socket alone."""

import signal
import socket
from pathlib import Path

from passmill.embedded.binaries import find_valkey
from passmill.embedded.leftover import stop_leftover
from passmill.embedded.process import ServerProcess, User

SOCKET = "valkey.sock"


async def start_valkey(
    *, home: Path, sockets: Path, user: User, durable: bool, log: Path
) -> ServerProcess:
    """Starts Valkey with its files in `home`, which exists. Raises EmbeddedServerError.

    With `durable` an append-only file is kept, else memory alone holds the keys.
    """
    binary = find_valkey()
    pid_file = home / "valkey.pid"
    await stop_leftover(pid_file, home, signal.SIGTERM)
    path = sockets / SOCKET
    path.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(home),
        "pidfile": str(pid_file),
        "save": "",
        "appendonly": "yes" if durable else "no",
        "daemonize": "no",
        "set-proc-title": "no",
    }
    command = [str(binary)]
    for name, value in options.items():
        command += [f"--{name}", value]
    server = ServerProcess(user=user, command=command, stop_signal=signal.SIGTERM, log=log)
    try:
        await server.wait_ready(lambda: _answers(path))
    except BaseException:
        await server.stop()
        raise
    return server


def valkey_url(sockets: Path) -> str:
    """The URL redis-py takes for the unix socket, database 0."""
    return f"unix://{sockets / SOCKET}"


def _answers(path: Path) -> bool:
    """Whether PING gets PONG; while the append-only file is read the answer is an error."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
