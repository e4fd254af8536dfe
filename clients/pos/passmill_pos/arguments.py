"""The command line of `passmill-pos`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final
from uuid import UUID

from passmill_pos.scanned_text import NamedBy
from passmill_pos.wedge import GUARD_SECONDS

LARGEST_AMOUNT: Final = 10**12
"""Of the protocol."""

_EXIT_STATUSES = """exit status:
  0 done   1 refused, or not good   2 called wrongly   3 not reached: kept, sent later
  4 not allowed   5 not reached, nothing is kept   6 failed
  7 not reached, and as far as can be seen without the service it is good"""


def parser() -> argparse.ArgumentParser:
    """Gives `command`, and what each command takes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="the configuration's file")
    common.add_argument("--json", action="store_true", help="tell it to programs: an object a line")
    common.add_argument(
        "--names", action="store_true", help="also tell the holder's name, picture and texts"
    )
    whole = argparse.ArgumentParser(
        prog="passmill-pos",
        description="Looks at passes at the counter, redeems offers, posts points, takes payment.",
        epilog=_EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            parents=[common, *parents],
        )

    add("find", "look passes up by reference id or telephone number", _which())
    verify = add("verify", "say what a pass is worth, here and now", _which())
    verify.add_argument("--offline", action="store_true", help="do not try the service")
    redeem = add("redeem", "redeem an offer", _which(), _change())
    redeem.add_argument("--offer", required=True, metavar="OFFER_ID", help="which offer")
    add("check-in", "check a pass in at this venue", _which(), _change())
    add("check-out", "check a pass out of this venue", _which(), _change())
    for name, text in (("earn", "add points or stamps"), ("burn", "take points or stamps")):
        post = add(name, text, _which(), _change(), _unit())
        post.add_argument("amount", type=_positive, help="in the unit's smallest part")
    pay = add("pay", "pay part of a sale from the pass", _which(), _change(), _unit())
    pay.add_argument("total", type=_positive, help="what the sale comes to, in minor units: cents")
    pay.add_argument("currency", help="its ISO 4217 code: EUR")
    pay.add_argument("--most", type=_positive, default=0, help="use at most so much of the unit")
    reverse = add("reverse", "take a redemption or an entry of the ledger back", _keyed())
    reverse.add_argument("kind", choices=["redemption", "entry"], help="what it is")
    reverse.add_argument("target_id", metavar="ID", type=_key, help="which, as it was told")
    reverse.add_argument("--reason", default="", help="why, and nothing of a person")
    _add_wedge(add("wedge", "take each line of the input as a scan", _change(), _unit(False)))
    enrol = add("enrol", "make this device a scanner")
    enrol.add_argument("code", help="the one-time code")
    enrol.add_argument("--name", required=True, help="what staff call this device")
    enrol.add_argument("--address", help="the service: HOST:PORT")
    enrol.add_argument("--ca-file", type=Path, help="PEM, instead of the well-known roots")
    enrol.add_argument(
        "--plaintext", action="store_true", help="something else encrypts the connection"
    )
    enrol.add_argument(
        "--keep-queue", action="store_true", help="send what is kept as the new scanner's"
    )
    add("sync-bundle", "fetch what it takes to check signed barcodes without the service")
    queue = add("queue", "look after what is kept")
    actions = queue.add_subparsers(dest="queue_action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[common], help="what waits to be sent")
    listing.add_argument("--all", action="store_true", help="also what is done")
    actions.add_parser("drain", parents=[common], help="send all of it")
    actions.add_parser(
        "adopt",
        parents=[common],
        help="send what was noted under another API key as this one's; a scan that was told under"
        " the other one, and not answered, counts again",
    )
    drop = actions.add_parser("drop", parents=[common], help="give an entry up")
    drop.add_argument("key", type=_key)
    return whole


def _which() -> argparse.ArgumentParser:
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument(
        "pass_name", metavar="PASS", help="what was scanned, or typed: K7M3-Q8TX, +12065550123"
    )
    which.add_argument(
        "--by",
        type=NamedBy,
        choices=list(NamedBy),
        help="what kind of name it is [seen by its form]",
    )
    return which


def _change() -> argparse.ArgumentParser:
    change = argparse.ArgumentParser(add_help=False, parents=[_keyed()])
    change.add_argument("--staff", help="who does it")
    change.add_argument("--offline", action="store_true", help="keep it, do not try the service")
    return change


def _keyed() -> argparse.ArgumentParser:
    keyed = argparse.ArgumentParser(add_help=False)
    keyed.add_argument(
        "--key", type=_key, help="a UUID: the same again does it once [a new one each time]"
    )
    return keyed


def _unit(is_required: bool = True) -> argparse.ArgumentParser:
    unit = argparse.ArgumentParser(add_help=False)
    unit.add_argument(
        "--unit", required=is_required, help="points, stamps, EUR: as the program says"
    )
    unit.add_argument("--reference", default="", help="what the till knows it by: the receipt")
    return unit


def _add_wedge(wedge: argparse.ArgumentParser) -> None:
    deeds = wedge.add_mutually_exclusive_group()
    deeds.add_argument("--redeem", metavar="OFFER_ID", help="redeem this offer [verify]")
    deeds.add_argument("--check-in", action="store_true", help="check in")
    deeds.add_argument("--check-out", action="store_true", help="check out")
    deeds.add_argument("--earn", type=_positive, metavar="AMOUNT", help="add so much of --unit")
    deeds.add_argument("--burn", type=_positive, metavar="AMOUNT", help="take so much of --unit")
    wedge.add_argument(
        "--guard",
        type=float,
        default=GUARD_SECONDS,
        metavar="SECONDS",
        help="a code that comes twice in a row within it is taken once [%(default)s]",
    )


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= LARGEST_AMOUNT:
        raise argparse.ArgumentTypeError(f"must be from 1 to {LARGEST_AMOUNT}")
    return number


def _key(text: str) -> str:
    return str(UUID(text))
