"""`passmill`: serve, edge-key, migrate, check-config, registrations, campaign, events, dev,
demo."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from passmill import __version__
from passmill.cli import registrations, serve
from passmill.embedded.errors import EmbeddedServerError
from passmill.settings import MissingSetting, UnknownSetting, load_settings
from passmill.store.migrate import MigrationRefused, migrate
from passmill.supervisor import ProcessFailed


def main(arguments: list[str] | None = None) -> None:
    """Runs one command; exits with 0, 1 (it failed) or 2 (it was called wrongly)."""
    parser = _parser()
    if arguments is None:
        arguments = sys.argv[1:]
    if arguments[:1] == ["campaign"]:
        sys.exit(_campaign(arguments[1:]))
    if arguments[:1] == ["events"]:
        sys.exit(_events(arguments[1:]))
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except (MissingSetting, UnknownSetting, ValidationError) as error:
        _fail(f"The settings are not right: {error}", status=2)
    except (ProcessFailed, MigrationRefused, EmbeddedServerError, OSError) as error:
        _fail(str(error), status=1)
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="passmill",
        description="Issues, signs, distributes, updates and checks wallet passes over gRPC.",
        epilog="Settings come from PASSMILL_* variables; server/passmill/settings.py lists them.",
    )
    parser.add_argument("--version", action="version", version=f"passmill {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="run a role until SIGTERM or Ctrl-C")
    command.add_argument("--role", choices=serve.ROLES, default="api", help="what to run")
    command.set_defaults(
        run=lambda parsed: serve.run(load_settings(), _stop_event(), role=parsed.role)
    )

    command = commands.add_parser(
        "edge-key", help="print PASSMILL_EDGE_KEY, the one secret of edges on other machines"
    )
    command.set_defaults(run=_edge_key)

    command = commands.add_parser("migrate", help="bring the database's schema up to date")
    command.add_argument(
        "--before-rollout",
        action="store_true",
        help="only what the release that runs now can live with",
    )
    command.set_defaults(run=_migrate)

    command = commands.add_parser("check-config", help="read the settings and say if they are good")
    command.set_defaults(run=_check_config)

    command = commands.add_parser("registrations", help="look after who is pushed what")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("rebuild", help="fill the index in Redis anew from PostgreSQL")
    action.set_defaults(run=lambda _: registrations.rebuild(load_settings()))

    # Parsed by themselves: they need the client.
    commands.add_parser("campaign", help="import recipients, watch and steer campaigns, export")
    commands.add_parser("events", help="tell what happened, and what happens")

    command = commands.add_parser("dev", help="run everything here on embedded servers")
    command.add_argument(
        "--data",
        type=Path,
        default=Path(".passmill"),
        help="kept in this folder [default: %(default)s]",
    )
    command.set_defaults(run=_dev)

    command = commands.add_parser("demo", help="issue passes from a recipients file, verify them")
    command.add_argument("--count", type=_positive, default=10_000, help="how many recipients")
    command.add_argument("--keep", type=Path, help="keep what is made in this folder")
    command.set_defaults(run=_demo)
    return parser


def _migrate(parsed: argparse.Namespace) -> int:
    settings = load_settings()
    if settings.database_owner_url is None:
        _fail("Set PASSMILL_DATABASE_OWNER_URL: migrations run as the owner of the tables.", 2)
    owner_url = settings.database_owner_url.get_secret_value()
    applied = asyncio.run(migrate(owner_url, stop_before_post=parsed.before_rollout))
    print(f"{applied} migrations applied." if applied else "The schema is up to date.")
    return 0


def _edge_key(_: argparse.Namespace) -> int:
    print(serve.edge_key(load_settings()))
    return 0


def _check_config(_: argparse.Namespace) -> int:
    load_settings()
    print("The settings are good.")
    return 0


# These need the client, and packages of extras, which production does without.
def _dev(parsed: argparse.Namespace) -> int:
    try:
        from passmill.cli import dev  # noqa: PLC0415 - only here
    except ModuleNotFoundError as missing:
        _fail(f"`passmill dev` needs {missing.name}: run `make dev` in a checkout.")

    return dev.run(parsed.data, _stop_event())


def _demo(parsed: argparse.Namespace) -> int:
    try:
        from passmill.demo import demo  # noqa: PLC0415 - only here
    except ModuleNotFoundError as missing:
        _fail(f"The demonstration needs {missing.name}: run `make demo` in a checkout.")

    return demo.run(count=parsed.count, keep=parsed.keep)


def _campaign(arguments: list[str]) -> int:
    try:
        from passmill.cli.campaign import arguments as campaign  # noqa: PLC0415 - only here
    except ModuleNotFoundError as missing:
        _fail(f"`passmill campaign` needs {missing.name}: install passmill-client's wheel.")

    return campaign.main(arguments)


def _events(arguments: list[str]) -> int:
    try:
        from passmill.cli import events  # noqa: PLC0415 - only here
    except ModuleNotFoundError as missing:
        _fail(f"`passmill events` needs {missing.name}: install passmill-client's wheel.")

    return events.main(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _stop_event() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _fail(message: str, status: int = 1) -> NoReturn:
    print(f"passmill: {message}", file=sys.stderr)
    sys.exit(status)
