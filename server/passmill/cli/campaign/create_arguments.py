"""The arguments of `passmill campaign create`."""

from __future__ import annotations

import argparse
from typing import Final

from passmill.cli.campaign import creating
from passmill.cli.campaign.options import (
    PRIORITIES,
    add_plan,
    add_reading,
    assignment,
    moment,
    reading_of,
    rollout_of,
    tag,
    with_client,
)
from passmill_client import Client

HELP: Final = """\
examples:
  passmill campaign create update --template 0192f3c4-… --canary 1 --halt-above 0.5
  passmill campaign create notify --template 0192f3c4-… --slot news --message "Two for one today" \\
      --where "points>=100" --start
  passmill campaign create void --of-campaign 0192f3c4-… --reason "misprinted" --start --watch
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what `create` takes."""
    command.add_argument("action", choices=["update", "void", "notify"])
    command.add_argument("--template", default="", metavar="ID", help="whose passes are meant")
    command.add_argument(
        "--revision", type=int, default=0, metavar="N", help="to move to [default: the newest]"
    )
    command.add_argument("--name", default="", help="of the campaign")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        type=assignment,
        metavar="SLOT=VALUE",
        help="with update",
    )
    command.add_argument("--slot", default="", help="with notify: which text slot changes")
    command.add_argument("--message", default="", help="with notify: to what")
    command.add_argument("--reason", default="", help="with void")
    segment = command.add_argument_group("which passes")
    segment.add_argument("--in-program", default="", metavar="ID")
    segment.add_argument("--in-template", default="", metavar="ID", help="[default: --template]")
    segment.add_argument("--in-revision", type=int, default=0, metavar="N")
    segment.add_argument("--issued-from", type=moment, metavar="TIME")
    segment.add_argument("--issued-before", type=moment, metavar="TIME")
    segment.add_argument("--of-campaign", default="", metavar="ID")
    segment.add_argument("--with-id-in", default="", metavar="SYSTEM")
    segment.add_argument(
        "--with-tag",
        action="append",
        default=[],
        type=tag,
        metavar="TAG",
        help="one of those given",
    )
    segment.add_argument(
        "--in-tier", action="append", default=[], metavar="TIER", help="one of those given"
    )
    segment.add_argument(
        "--seen-since", type=moment, metavar="TIME", help="a device that has it was heard of"
    )
    segment.add_argument("--seen-before", type=moment, metavar="TIME", help="and not later")
    segment.add_argument(
        "--never-seen", action="store_true", help="no device has it; these too, or these alone"
    )
    segment.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="SLOT=VALUE, SLOT>=VALUE or SLOT<VALUE; = of one slot may be given often",
    )
    add_reading(command)
    add_plan(command)
    command.add_argument("--start", action="store_true", help="instead of showing what it would do")
    command.add_argument(
        "--watch", action="store_true", help="show the campaign until it has ended"
    )
    act = with_client(
        _create,
        again="`passmill campaign list` shows what was made; the same command again makes another"
        " campaign.",
    )

    def run(parsed: argparse.Namespace) -> int:
        if parsed.watch and not parsed.start:
            command.error("--watch needs --start: without it nothing happens that could be watched")
        return act(parsed)

    command.set_defaults(run=run)


def _create(client: Client, parsed: argparse.Namespace) -> int:
    return creating.run(
        client,
        creating.CreateOptions(
            action=parsed.action,
            name=parsed.name,
            template_id=parsed.template,
            revision=parsed.revision,
            set=parsed.set,
            slot=parsed.slot,
            message=parsed.message,
            reason=parsed.reason,
            segment=creating.SegmentOptions(
                program_id=parsed.in_program,
                template_id=parsed.in_template,
                revision=parsed.in_revision,
                issued_from=parsed.issued_from,
                issued_before=parsed.issued_before,
                campaign_id=parsed.of_campaign,
                external_id_system=parsed.with_id_in,
                tags=parsed.with_tag,
                tiers=parsed.in_tier,
                seen_since=parsed.seen_since,
                seen_before=parsed.seen_before,
                never_seen=parsed.never_seen,
                where=parsed.where,
            ),
            reading=reading_of(parsed),
            priority=PRIORITIES[parsed.priority],
            rollout=rollout_of(parsed),
            start=parsed.start,
            watch=parsed.watch,
        ),
    )
