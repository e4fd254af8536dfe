"""The arguments of `passmill campaign export`."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from passmill.cli.campaign import connection, exporting, result_files
from passmill.cli.campaign.options import guarded, positive

HELP: Final = """\
The file appears under its name once it is complete. In CSV a cell that a spreadsheet would take for
a formula has an apostrophe before it, telephone numbers for instance; NDJSON and Parquet hold cells
as they are. With --bundles the column `bundle` names each pass: its SHA-256. Of a campaign with
claim links `claim_url` is each pass's, the same in each export, if the key has scope issue: keep
the file as secret as the passes.

examples:
  passmill campaign export 0192f3c4-… --output results.parquet
  passmill campaign export 0192f3c4-… --failed-only --output - --format ndjson
  passmill campaign export 0192f3c4-… --bundles s3://my-bucket/spring   (AWS_* say who you are)
"""

_AGAIN: Final = "Nothing is under the file's name yet; the same command again starts over."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what `export` takes."""
    command.add_argument("campaign", metavar="ID")
    command.add_argument(
        "--output", default="", metavar="FILE", help='"-" for standard output [default: ID.csv]'
    )
    command.add_argument(
        "--format", choices=result_files.FORMATS, help="[default: by the file's name]"
    )
    command.add_argument("--failed-only", action="store_true", help="only what was not served")
    command.add_argument(
        "--bundles", default="", metavar="URL", help="a folder, s3://…, gs://… or az://…"
    )
    command.add_argument(
        "--concurrency",
        type=positive,
        default=8,
        metavar="N",
        help="calls at once, each for up to ten passes [default: 8]",
    )

    async def run(parsed: argparse.Namespace) -> int:
        async with connection.connect_async(parsed) as client:
            return await exporting.run(
                client,
                exporting.ExportOptions(
                    campaign_id=parsed.campaign,
                    output=parsed.output,
                    format=parsed.format,
                    failed_only=parsed.failed_only,
                    bundles=parsed.bundles,
                    concurrency=parsed.concurrency,
                ),
            )

    command.set_defaults(run=guarded(lambda parsed: asyncio.run(run(parsed)), again=_AGAIN))
