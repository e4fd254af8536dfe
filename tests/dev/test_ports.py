"""A usual port is chosen when nobody has it."""

import socket
from contextlib import ExitStack

from passmill.dev.ports import ANY_PORT, HOST, choose_port


def take_port(stack: ExitStack, *, listens: bool, shares: bool) -> int:
    """A port that somebody holds: a server, or one that leaves room for others beside it."""
    holder = stack.enter_context(socket.socket())
    if shares:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    else:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    if listens:
        holder.listen()
    port: int = holder.getsockname()[1]
    return port


def test_a_free_port_is_chosen() -> None:
    """A port that nobody has any more is chosen."""
    with ExitStack() as stack:
        port = take_port(stack, listens=False, shares=True)
    assert choose_port(port) == port


def test_a_lingering_connection_does_not_count() -> None:
    """A service that closed its connections first, and ended, leaves its port free."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, 0))
        server.listen()
        port: int = server.getsockname()[1]
        client = stack.enter_context(socket.create_connection((HOST, port)))
        accepted, _ = server.accept()
        accepted.close()
        assert client.recv(1) == b""
    assert choose_port(port) == port


def test_a_taken_port_is_left_alone() -> None:
    """A port is left to a server on it, and to another Passmill, beside which the system would let
    us in."""
    with ExitStack() as stack:
        for listens, shares in ((True, False), (False, True), (True, True)):
            assert choose_port(take_port(stack, listens=listens, shares=shares)) == ANY_PORT
