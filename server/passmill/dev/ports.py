"""The usual ports where they are free."""

from __future__ import annotations

import socket
from typing import Final

HOST: Final = "127.0.0.1"
ANY_PORT: Final = 0


def choose_port(usual: int) -> int:
    """`usual`, or ANY_PORT when somebody on this machine has it.

    The supervisor's own attempt would not tell: beside another Passmill of the same user it gets
    the port too (SO_REUSEPORT), and the two would share the calls.
    """
    with socket.socket() as probe:
        # Connections of a service that has ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, usual))
        except OSError:
            return ANY_PORT
    return usual
