"""Options that several campaign commands take, and how a command ends."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from passmill.cli.campaign import connection
from passmill.cli.campaign.cells import Reading
from passmill.cli.campaign.csv_source import DELIMITERS
from passmill.cli.campaign.errors import CommandFailed, Interrupted, explain
from passmill.domain.tags import tag_problems
from passmill_client import Client, PassmillError, messages

INTERRUPTED: Final = 130
PRIORITIES: Final = {
    "low": messages.Campaign.PRIORITY_LOW,
    "normal": messages.Campaign.PRIORITY_NORMAL,
    "high": messages.Campaign.PRIORITY_HIGH,
}

Run: TypeAlias = Callable[[argparse.Namespace], int]


def with_client(act: Callable[[Client, argparse.Namespace], int], *, again: str = "") -> Run:
    """A command that needs the service. `again`: what running the same command again does, told
    when it was interrupted, or nobody knows what was done."""

    def run(parsed: argparse.Namespace) -> int:
        with connection.connect(parsed) as client:
            return act(client, parsed)

    return guarded(run, again=again)


def guarded(run: Run, *, again: str = "") -> Run:
    """The command with its failures told; gives the exit status. `again`: as with_client's."""

    def run_guarded(parsed: argparse.Namespace) -> int:
        try:
            return run(parsed)
        except CommandFailed as error:
            problem = str(error)
        except PassmillError as error:
            problem = explain(error, again=again)
        except BrokenPipeError:  # as of `… | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            problem = str(error)
        except KeyboardInterrupt:
            print(f"\nInterrupted. {again}".rstrip(), file=sys.stderr)
            return INTERRUPTED
        except Interrupted as stop:
            print(f"\nInterrupted. {stop}", file=sys.stderr)
            return INTERRUPTED
        print(f"passmill: {problem}", file=sys.stderr)
        return 1

    return run_guarded


def add_reading(parser: argparse._ActionsContainer) -> None:
    """Adds how cells are read where they do not say it themselves."""
    parser.add_argument(
        "--time-zone", type=_zone, metavar="ZONE", help="of times without an offset: Europe/Berlin"
    )
    parser.add_argument("--currency", default="", metavar="CODE", help="of amounts without one")
    parser.add_argument("--decimal-comma", action="store_true", help="numbers are written 12,50")


def reading_of(parsed: argparse.Namespace) -> Reading:
    """What `add_reading` took."""
    return Reading(
        zone=parsed.time_zone,
        currency=parsed.currency.upper(),
        decimal_comma=parsed.decimal_comma,
    )


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Adds how soon and in which steps a campaign goes on."""
    plan = parser.add_argument_group("plan")
    plan.add_argument("--priority", choices=PRIORITIES, default="normal")
    plan.add_argument(
        "--canary", type=_percent, default=0, metavar="PERCENT", help="first only so many"
    )
    plan.add_argument(
        "--canary-wait",
        type=positive,
        default=0,
        metavar="SECONDS",
        help="then go on by itself [default: wait for `resume`]",
    )
    plan.add_argument(
        "--per-minute", type=positive, default=0, metavar="N", help="at most so many recipients"
    )
    plan.add_argument(
        "--halt-above", type=_percent, default=0, metavar="PERCENT", help="pause when more fail"
    )


def rollout_of(parsed: argparse.Namespace) -> messages.RolloutPlan | None:
    """What `add_plan` took; None for all at once."""
    plan = messages.RolloutPlan(
        canary_ppm=parsed.canary,
        canary_seconds=parsed.canary_wait,
        recipients_per_minute=parsed.per_minute,
        halt_above_failed_ppm=parsed.halt_above,
    )
    return None if plan == messages.RolloutPlan() else plan


def pair(text: str) -> tuple[str, str]:
    """`LEFT=RIGHT`; the left one may hold the sign itself."""
    left, sign, right = text.rpartition("=")
    if not (left and sign and right):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form LEFT=RIGHT")
    return left, right


def assignment(text: str) -> tuple[str, str]:
    """`NAME=VALUE`; the value may hold the sign itself."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def tag(text: str) -> str:
    """A tag."""
    for problem in tag_problems([text], path=text):
        raise argparse.ArgumentTypeError(f"{text!r} {problem.message}")
    return text


def delimiter(text: str) -> str:
    """A delimiter by its name, or as it is."""
    found = DELIMITERS.get(text, text)
    if len(found) != 1 or found in '"\r\n':
        raise argparse.ArgumentTypeError(f"{', '.join(DELIMITERS)}, or one character")
    return found


def moment(text: str) -> datetime:
    """A time with its offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-05-03T09:00+02:00")
    return found


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _percent(text: str) -> int:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0.000_001 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0.0001% to 100%")
    return round(share * 1_000_000)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"there is no time zone {text!r}") from None
