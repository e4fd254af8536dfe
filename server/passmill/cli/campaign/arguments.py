"""`passmill campaign` and its commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from passmill.cli.campaign import (
    connection,
    create_arguments,
    export_arguments,
    import_arguments,
    steering,
    watching,
)
from passmill.cli.campaign.options import moment, positive, with_client
from passmill_client import Client

_SHOW: Final = "`passmill campaign show` says whether it was done."


def main(arguments: Sequence[str]) -> int:
    """Runs one command; gives the exit status. Ends by itself when it was called wrongly."""
    parsed = _parser().parse_args(arguments)
    status: int = parsed.run(parsed)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="passmill campaign",
        description="Acts on many passes: import recipients, watch and steer, export.",
        epilog="PASSMILL_ADDRESS and PASSMILL_API_KEY say which service, and who asks.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def add(name: str, help_text: str, epilog: str = "") -> argparse.ArgumentParser:
        command = actions.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        connection.add_arguments(command)
        return command

    import_arguments.add_arguments(
        add("import", "issue a pass to each row of a file", import_arguments.HELP)
    )
    create_arguments.add_arguments(
        add("create", "act on passes chosen by a segment", create_arguments.HELP)
    )
    export_arguments.add_arguments(
        add("export", "write results, and the passes themselves", export_arguments.HELP)
    )
    _add_steering(add)
    return parser


def _add_steering(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    command = add("list", "list campaigns, the newest first")
    command.add_argument("--count", type=positive, default=20, metavar="N")
    command.add_argument("--json", action="store_true", help="an object a line")
    command.set_defaults(
        run=with_client(
            lambda client, parsed: steering.list_campaigns(
                client, count=parsed.count, as_json=parsed.json
            )
        )
    )

    def add_one(
        name: str,
        help_text: str,
        act: Callable[[Client, argparse.Namespace], int],
        again: str = "",
    ) -> argparse.ArgumentParser:
        command = add(name, help_text)
        command.add_argument("campaign", metavar="ID")
        command.set_defaults(run=with_client(act, again=again))
        return command

    command = add_one(
        "show",
        "show one campaign",
        lambda client, parsed: steering.show(client, parsed.campaign, as_json=parsed.json),
    )
    command.add_argument("--json", action="store_true", help="as one JSON object")
    add_one(
        "watch",
        "show a campaign until it has ended",
        lambda client, parsed: watching.run(client, parsed.campaign),
    )
    add_one(
        "preview",
        "show what a campaign would do",
        lambda client, parsed: steering.preview(client, parsed.campaign),
    )
    command = add_one(
        "start",
        "start a campaign",
        lambda client, parsed: steering.start(
            client, parsed.campaign, start_time=parsed.at, watch=parsed.watch
        ),
        again=_SHOW,
    )
    command.add_argument("--at", type=moment, metavar="TIME", help="then, not now")
    command.add_argument("--watch", action="store_true")
    add_one(
        "pause",
        "stop a campaign before its next shard",
        lambda client, parsed: steering.pause(client, parsed.campaign),
        again=_SHOW,
    )
    add_one(
        "resume",
        "let a paused campaign go on",
        lambda client, parsed: steering.resume(client, parsed.campaign),
        again=_SHOW,
    )
    command = add_one(
        "cancel",
        "end a campaign before its time",
        lambda client, parsed: steering.cancel(
            client, parsed.campaign, void_issued=parsed.void_issued
        ),
        again=_SHOW,
    )
    command.add_argument("--void-issued", action="store_true", help="void what it has issued")
    command = add_one(
        "retry",
        "try the failed recipients of an ended campaign again",
        lambda client, parsed: steering.retry(
            client, parsed.campaign, reasons=parsed.reason, watch=parsed.watch
        ),
        again=_SHOW,
    )
    command.add_argument(
        "--reason", action="append", default=[], help="only those failed for it; may be given often"
    )
    command.add_argument("--watch", action="store_true")
    command = add_one(
        "rollback",
        "take an update back",
        lambda client, parsed: steering.roll_back(client, parsed.campaign, watch=parsed.watch),
        again="The same command again shows the same roll-back.",
    )
    command.add_argument("--watch", action="store_true")
