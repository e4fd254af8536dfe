"""Becomes a server process: gives up root, ties its life to the parent's, then executes.

Run as a script by a bare interpreter (`python -I -S child.py USER PARENT SIGNAL COMMAND...`), so
that it may take its time between fork and exec, which code in a threaded parent may not.
USER is `self`, `namespace` (a user namespace in which root is uid 1000; PostgreSQL refuses uid 0)
or `nobody`. SIGNAL is sent to the server when PARENT dies (Linux only).
"""

import ctypes
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def enter_user_namespace() -> None:
    """Maps root to uid and gid 1000 inside; files stay root's outside. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name, text in (("setgroups", "deny"), ("uid_map", "1000 0 1"), ("gid_map", "1000 0 1")):
        Path(f"/proc/self/{name}").write_text(text)


def become_nobody() -> None:
    """Drops root for good."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Asks for `signal_number` at the parent's death; a later change of uid would cancel it."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit("the parent process is gone")


def main(user: str, parent: str, signal_number: str, *command: str) -> None:
    """Does not return: executes `command`, or exits with a message."""
    try:
        if user == "namespace":
            enter_user_namespace()
        elif user == "nobody":
            become_nobody()
        die_with_parent(int(parent), int(signal_number))
        os.execv(command[0], command)  # noqa: S606 - this is the point of the script
    except OSError as error:
        sys.exit(f"cannot start {command[0]} as {user}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
