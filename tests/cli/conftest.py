"""A whole service with a coffee club in it, and the command line of `passmill campaign`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from passmill.demo.club import Club, set_up
from passmill.dev.local_service import LocalService
from passmill_client import AdminClient, Client, messages

SECONDS = 120
PUBLIC_URL = "https://passes.example"

# Who runs the tests in the background has them started deaf to SIGINT, and all that they start.
HEARING_CTRL_C = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " runpy.run_module('passmill', run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """Runs `passmill campaign` in processes of its own, against a running service."""

    service: LocalService
    club: Club
    environment: dict[str, str] = field(repr=False)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Starts a command."""
        return subprocess.Popen(
            [sys.executable, "-c", HEARING_CTRL_C, "campaign", *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def finish(self, process: subprocess.Popen[str]) -> Finished:
        """Waits for the end of a command."""
        output, errors = process.communicate(timeout=SECONDS)
        return Finished(status=process.returncode, output=output, errors=errors)

    def run(self, *arguments: object) -> Finished:
        """Runs a command to its end."""
        return self.finish(self.start(*arguments))

    def client(self) -> Client:
        """The club's client."""
        return Client(self.service.api_address, self.club.issue_key)

    def owner(self) -> Client:
        """A client of the club that may do everything."""
        with AdminClient(self.service.admin_address, self.service.operator_key) as admin:
            key = admin.create_api_key(
                "all",
                tenant_id=self.club.tenant_id,
                scopes=[
                    *(messages.API_SCOPE_ADMIN, messages.API_SCOPE_READ),
                    messages.API_SCOPE_ISSUE,
                ],
            )
        return Client(self.service.api_address, key.secret_key)


@pytest.fixture(scope="session")
def command_line() -> Iterator[CommandLine]:
    """An API process and a worker, watched over, and a club."""
    stop = threading.Event()
    settings = {"PASSMILL_PUBLIC_URL": PUBLIC_URL}
    with LocalService(processes=1, workers=1, settings=settings) as service:
        watching = threading.Thread(target=service.supervisor.run, args=(stop,))
        watching.start()
        try:
            club = set_up(
                api_address=service.api_address,
                admin_address=service.admin_address,
                operator_key=service.operator_key,
            )
            kept = {
                name: text for name, text in os.environ.items() if not name.startswith("PASSMILL_")
            }
            environment = kept | {
                "PASSMILL_ADDRESS": service.api_address,
                "PASSMILL_API_KEY": club.issue_key,
            }
            yield CommandLine(service=service, club=club, environment=environment)
        finally:
            stop.set()
            watching.join()
