"""`passmill events`: what happened, an object a line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Final

from passmill.cli.campaign import connection
from passmill.cli.campaign.options import with_client
from passmill_client import Client, Event, messages

_PREFIX: Final = "EVENT_KIND_"
_KINDS: Final = {
    name.removeprefix(_PREFIX).lower(): number
    for name, number in messages.EventKind.items()
    if number
}
# So often the file is written while events rush in; what came since is told again after a crash.
_KEEP_SECONDS: Final = 1.0


def main(arguments: Sequence[str]) -> int:
    """Runs one command; gives the exit status. Ends by itself when it was called wrongly."""
    parsed = _parser().parse_args(arguments)
    status: int = parsed.run(parsed)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="passmill events",
        description="Tells what happened to passes, an object a line.",
        epilog="PASSMILL_ADDRESS and PASSMILL_API_KEY say which service, and who asks.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, help_text in (
        ("list", "tell the events that there are"),
        ("watch", "tell events as they happen, until Ctrl-C"),
    ):
        command = actions.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        connection.add_arguments(command)
        command.add_argument(
            "--kind",
            action="append",
            choices=sorted(_KINDS),
            default=[],
            metavar="KIND",
            help=f"only of this kind; may be given often: {', '.join(sorted(_KINDS))}",
        )
        start = command.add_mutually_exclusive_group()
        start.add_argument("--cursor", default="", help="go on behind an event's cursor")
        start.add_argument(
            "--cursor-file",
            type=Path,
            metavar="FILE",
            help="go on where the last run ended, which it writes there",
        )
        if name == "watch":
            start.add_argument("--new", action="store_true", help="only what happens from now on")
        command.set_defaults(run=with_client(_tell), new=False, is_watching=name == "watch")
    return parser


def _tell(client: Client, parsed: argparse.Namespace) -> int:
    path: Path | None = parsed.cursor_file
    cursor: str = parsed.cursor
    if path is not None and path.exists():
        cursor = path.read_text(encoding="ascii").strip()
    kinds = [_KINDS[kind] for kind in parsed.kind]
    events: Iterator[Event] = (
        client.watch_events(cursor=cursor, kinds=kinds, only_new=parsed.new)
        if parsed.is_watching
        else client.list_events(cursor=cursor, kinds=kinds)
    )
    place, kept_at, interruption = "", time.monotonic(), _Interruption()
    try:
        for event in events:
            # Or it would be told again by the next run.
            with interruption.later():
                print(_as_json(event), flush=True)
                place = event.cursor
            if path is not None and time.monotonic() - kept_at >= _KEEP_SECONDS:
                _keep(path, place)
                kept_at = time.monotonic()
    finally:
        if path is not None and place:
            _keep(path, place)
    return 0


class _Interruption:
    """Lets Ctrl-C wait while something is done that belongs together."""

    def __init__(self) -> None:
        self._has_come = False

    @contextmanager
    def later(self) -> Iterator[None]:
        """Ctrl-C during the block has its effect behind it."""
        usual = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)
        if self._has_come:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self._has_come = True


def _as_json(event: Event) -> str:
    detail = {field.name: value for field, value in event.detail.ListFields()}
    if event.detail.wallet:
        detail["wallet"] = messages.Wallet.Name(event.detail.wallet).removeprefix("WALLET_").lower()
    return json.dumps(
        {
            "event_id": event.event_id,
            "kind": messages.EventKind.Name(event.kind).removeprefix(_PREFIX).lower(),
            "create_time": event.create_time.ToDatetime(UTC).isoformat(),
            "pass_ids": list(event.pass_ids),
            "detail": detail,
            "cursor": event.cursor,
        },
        ensure_ascii=False,
    )


def _keep(path: Path, cursor: str) -> None:
    """Writes a cursor so that the file is never half of one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(f"{cursor}\n", encoding="ascii")
    scratch.replace(path)
