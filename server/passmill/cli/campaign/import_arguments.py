"""The arguments of `passmill campaign import`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from passmill.cli.campaign import importing
from passmill.cli.campaign.csv_source import DELIMITERS
from passmill.cli.campaign.options import (
    PRIORITIES,
    add_plan,
    add_reading,
    delimiter,
    moment,
    pair,
    positive,
    reading_of,
    rollout_of,
    with_client,
)
from passmill.cli.campaign.sources import FORMATS
from passmill_client import Client

HELP: Final = """\
Columns are found by name: external_id (your id of each recipient, unique in the file), name, phone
(+12065550123), expire_time, tags ("vip, berlin"), external_ids.SYSTEM, and the slots of the
template, as SLOT or values.SLOT. --map COLUMN=TARGET says what the names do not.

Run the same command again after Ctrl-C or a crash, within thirty days: it goes on where it stopped
and issues nothing twice. It is the same import when the file's content, --action, --template and
--run are the same; the other options must then be, too, or it is refused. --run NAME makes another
import of the same file: every row gets a pass again. Rows that cannot be taken are in
FILE.rejects.csv with line and reason; mend them there and import that file, with whatever option
they lacked. That file is another import, so import its rows once.

Exit status: 0 all rows loaded, 3 some refused, 1 failed, 2 wrongly called, 130 interrupted.

examples:
  passmill campaign import members.csv --template 0192f3c4-… --watch
  passmill campaign import members.csv --template 0192f3c4-… --claim-links --claim-days 90 --watch
  passmill campaign import members.csv --template 0192f3c4-… --no-start \\
      --map "Customer No"=external_id --map "Customer No"=external_ids.crm --map Beans=points
  passmill campaign import mitglieder.csv --template 0192f3c4-… --encoding cp1252 \\
      --decimal-comma --currency EUR --time-zone Europe/Berlin
  passmill campaign import points.ndjson --template 0192f3c4-… --action update
  passmill campaign import winners.csv --template 0192f3c4-… --action notify \\
      --slot news --message "You have won" --number-rows
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what `import` takes."""
    command.add_argument("file", type=Path, help="CSV, NDJSON or Parquet")
    command.add_argument(
        "--template", default="", metavar="ID", help="what is issued; not with void"
    )
    command.add_argument(
        "--revision", type=int, default=0, metavar="N", help="[default: the newest published]"
    )
    command.add_argument("--name", default="", help="of the campaign [default: the file's]")
    command.add_argument(
        "--map",
        action="append",
        default=[],
        type=pair,
        metavar="COLUMN=TARGET",
        help="what a column is; may be given often",
    )
    command.add_argument(
        "--action",
        choices=["issue", "update", "void", "notify"],
        default="issue",
        help="all but issue take passes by a column pass_id, reference_id or serial_number",
    )
    command.add_argument("--slot", default="", help="with notify: which text slot changes")
    command.add_argument("--message", default="", help="with notify: to what")
    command.add_argument("--reason", default="", help="of --action void")
    file = command.add_argument_group("file")
    file.add_argument("--format", choices=FORMATS, help="[default: found]")
    file.add_argument("--encoding", help="[default: UTF-8 or UTF-16, found]")
    file.add_argument("--delimiter", type=delimiter, help=f"{', '.join(DELIMITERS)} or a character")
    file.add_argument(
        "--number-rows", action="store_true", help="external_id is row-LINE: there is no column"
    )
    add_reading(file)
    links = command.add_argument_group("claim links")
    links.add_argument(
        "--claim-links",
        action="store_true",
        help="make one to each pass, good once; `export` gives them",
    )
    links.add_argument(
        "--claim-days",
        type=positive,
        default=0,
        metavar="N",
        help="each is good for [default: ever]",
    )
    links.add_argument(
        "--claim-source", default="", metavar="TEXT", help="by what they are sent: sms"
    )
    add_plan(command)
    start = command.add_argument_group("start")
    start.add_argument(
        "--start",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start once all is loaded [default: yes]",
    )
    start.add_argument(
        "--at", type=moment, metavar="TIME", help="start then: 2026-05-03T09:00+02:00"
    )
    start.add_argument("--watch", action="store_true", help="show the campaign until it has ended")
    start.add_argument(
        "--run",
        dest="run_name",
        default="",
        metavar="NAME",
        help="tells this import from another of the same file",
    )
    act = with_client(_import, again="The same command again goes on where it stopped.")

    def run(parsed: argparse.Namespace) -> int:
        if problem := _problem(parsed):
            command.error(problem)
        return act(parsed)

    command.set_defaults(run=run)


def _problem(parsed: argparse.Namespace) -> str:
    """What does not go together; empty when all does."""
    is_void, is_notify = parsed.action == "void", parsed.action == "notify"
    wrong = [
        (
            is_void and bool(parsed.template or parsed.revision),
            "--action void voids the passes that the rows name, of whatever template",
        ),
        (not is_void and not parsed.template, "--template is needed: what is issued or updated"),
        (not is_void and bool(parsed.reason), "--reason is of --action void"),
        (
            is_notify and not (parsed.slot and parsed.message),
            "--action notify needs --slot, the text slot that carries it, and --message",
        ),
        (
            is_notify and bool(parsed.revision),
            "--action notify leaves each pass in its revision: no --revision",
        ),
        (
            not is_notify and bool(parsed.slot or parsed.message),
            "--slot and --message are of --action notify",
        ),
        (
            not parsed.start and bool(parsed.at or parsed.watch),
            "--no-start does not go with --at or --watch",
        ),
    ]
    return next((problem for is_wrong, problem in wrong if is_wrong), "")


def _import(client: Client, parsed: argparse.Namespace) -> int:
    return importing.run(
        client,
        importing.ImportOptions(
            path=parsed.file,
            action=parsed.action,
            template_id=parsed.template,
            revision=parsed.revision,
            name=parsed.name,
            run=parsed.run_name,
            map=parsed.map,
            format=parsed.format,
            encoding=parsed.encoding,
            delimiter=parsed.delimiter,
            reading=reading_of(parsed),
            reading_words=[
                str(parsed.time_zone),
                parsed.currency.upper(),
                str(parsed.decimal_comma),
            ],
            number_rows=parsed.number_rows,
            claim_links=parsed.claim_links,
            claim_days=parsed.claim_days,
            claim_source=parsed.claim_source,
            priority=PRIORITIES[parsed.priority],
            rollout=rollout_of(parsed),
            reason=parsed.reason,
            slot=parsed.slot,
            message=parsed.message,
            start=parsed.start,
            start_time=parsed.at,
            watch=parsed.watch,
        ),
    )
