"""`passmill dev`."""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path
from typing import Final

from passmill.demo.club import Club
from passmill.demo.console import DemoFailed
from passmill.demo.kept_club import ROOT_FILE, KeptClub
from passmill.dev.local_push import LocalPush
from passmill.dev.local_service import LocalService
from passmill.dev.phone_folder import PhoneFolder
from passmill.telemetry.logging import configure_logging
from passmill_client import PassmillError

_PHONE_FOLDER: Final = "phone"


def run(data_dir: Path, stop: threading.Event) -> int:
    """Runs everything until `stop`, with its data kept in `data_dir`; gives the exit status."""
    configure_logging(log_format="console")
    data_dir.mkdir(parents=True, exist_ok=True)
    kept = KeptClub(data_dir)
    with (
        LocalPush(root_pem=kept.root_pem, folder=data_dir) as push,
        LocalService(
            data_dir=data_dir,
            workers=1,
            edges=1,
            usual_ports=True,
            on_step=_say,
            settings={"PASSMILL_LOG__LEVEL": "info", **push.settings},
        ) as service,
    ):
        try:
            club = kept.find_or_set_up(
                api_address=service.api_address,
                admin_address=service.admin_address,
                operator_key=service.operator_key,
                on_step=_say,
            )
        except (DemoFailed, PassmillError) as error:
            print(f"passmill: no coffee club could be set up: {error}", file=sys.stderr)
            return 1
        folder = data_dir / _PHONE_FOLDER
        phone = PhoneFolder(folder, push=push, edge_root=service.edge_root_file, on_step=_say)
        with phone:
            _tell(data_dir, club, service, push)
            service.supervisor.run(stop)
    return 0


def _tell(data_dir: Path, club: Club, service: LocalService, push: LocalPush) -> None:
    _say(f"gRPC        {service.api_address}")
    _say(f"admin       {service.admin_address}  (reflection is on)")
    _say(f"web service {service.edge_url}  (its certificate's root: {service.edge_root_file})")
    _say(f"pushes      {push.address}  (a stand-in for Apple's service: no real phone hears)")
    _say(f"phone       {data_dir / _PHONE_FOLDER}  (simulated: has each .pkpass that is in there)")
    _say(f"metrics     {service.metrics_url}")
    _say(f"data        {data_dir}  ({ROOT_FILE}: what the passes' signatures are checked with)")
    _say(f"template    {club.template_id}  (the coffee club's card)")
    _say("For a client of the coffee club, and for the operator's, in another terminal:")
    _say(_export(PASSMILL_ADDRESS=service.api_address, PASSMILL_API_KEY=club.issue_key))
    _say(
        _export(
            PASSMILL_ADMIN_ADDRESS=service.admin_address,
            PASSMILL_OPERATOR_KEY=service.operator_key,
        )
    )
    _say("Ctrl-C ends it.")


def _export(**variables: str) -> str:
    """A line for a shell."""
    return "export " + " ".join(f"{name}={shlex.quote(text)}" for name, text in variables.items())


def _say(line: str) -> None:
    print(line, flush=True)
