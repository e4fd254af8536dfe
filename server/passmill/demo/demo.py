"""The demonstration, step by step."""

from __future__ import annotations

import csv
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TextIO

from passmill.demo.card_picture import can_draw_name, draw_card
from passmill.demo.club import MAKING_AUTHORITY, Club, set_up
from passmill.demo.console import Console, DemoFailed
from passmill.demo.recipients import Recipient, read_recipients, write_recipients
from passmill.demo.update_chapter import Update, show_update
from passmill.demo.verifying import Verifier, find_reader
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.local_push import LocalPush
from passmill.dev.local_service import LocalService
from passmill.telemetry.logging import configure_logging
from passmill_client import Client, Pass, PassmillError

_CHANNELS = 8
_VERIFIED = 100
_KEPT = 5
_LAST_LATIN = "\u024f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """An issued pass that is looked at more closely, and whom it was issued to."""

    recipient: Recipient
    wallet_pass: Pass


def run(*, count: int, keep: Path | None = None, out: TextIO = sys.stdout) -> int:
    """Issues `count` passes from a recipients file and verifies some of them; what is worth a look
    stays in `keep`, by default the folder `demo`. Gives the exit status; DemoFailed and
    PassmillError are told on `out`."""
    configure_logging(level="warning", log_format="console")
    console = Console(out)
    folder = keep or Path("demo")
    try:
        _demonstrate(console, count, folder)
    except (DemoFailed, PassmillError) as error:
        console.title(f"The demonstration failed: {error}")
        return 1
    return 0


def _demonstrate(console: Console, count: int, folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise DemoFailed(
            "this machine lacks openssl, which verifies the passes (Debian: apt install openssl)"
        )
    (folder / "passes").mkdir(parents=True, exist_ok=True)
    for earlier in (folder / "passes").glob("*.pkpass"):
        earlier.unlink()
    recipients = folder / "recipients.csv"

    console.title("Starting a whole Passmill on this machine")
    console.step(MAKING_AUTHORITY)
    authority = ThrowawayAuthority(now=datetime.now(UTC))
    with ExitStack() as stack:
        console.step("starting a stand-in for Apple's push service")
        push = stack.enter_context(LocalPush(root_pem=authority.root_pem))
        service = stack.enter_context(
            LocalService(workers=1, edges=1, on_step=console.step, settings=push.settings)
        )
        console.title("Setting up a coffee club through the gRPC API")
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            authority=authority,
            on_step=console.step,
        )
        (folder / "root.pem").write_bytes(club.root_pem)
        console.step(f"writing {count:,} recipients with names in many scripts to {recipients}")
        write_recipients(recipients, count)

        client = stack.enter_context(
            Client(service.api_address, club.issue_key, channels=_CHANNELS)
        )
        console.title(f"Issuing {count:,} passes from the file")
        seconds, sample = _issue(console, client, club, folder, count)
        console.title(f"Verifying {len(sample)} of them with tools that are not ours")
        reader = find_reader()
        console.step(f"{reader.name} opens, openssl cms -verify checks, digests are recomputed")
        verifier = Verifier(openssl=openssl, reader=reader, root=folder / "root.pem")
        sizes = _verify(console, client, verifier, folder, sample)
        console.title("An update reaches a phone")
        update = show_update(
            console,
            client=client,
            service=service,
            push=push,
            recipient=sample[0].recipient,
            wallet_pass=sample[0].wallet_pass,
        )
    _conclude(console, count=count, seconds=seconds, sizes=sizes, update=update, folder=folder)


def _issue(
    console: Console, client: Client, club: Club, folder: Path, count: int
) -> tuple[float, list[Sampled]]:
    """Issues from the recipients file, notes who got what: seconds, and which to verify."""
    recipients = folder / "recipients.csv"
    outcomes = client.issue_many(
        club.template_id, (each.draft() for each in read_recipients(recipients))
    )
    shown = console.progress(outcomes, total=count, verb="issued")
    chosen = _choose(count)
    started = time.monotonic()
    sample = []
    with (folder / "issued.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("name", "reference_id", "serial_number", "pass_id"))
        # Outcomes come in the order of the file, so it is read a second time beside them.
        for recipient, (place, outcome) in zip(read_recipients(recipients), shown, strict=True):
            if isinstance(outcome, PassmillError):
                raise DemoFailed(f"{recipient.name} (line {place + 2}) was refused: {outcome}")
            ids = (outcome.reference_id, outcome.serial_number, outcome.pass_id)
            lines.writerow((recipient.name, *ids))
            if place in chosen:
                sample.append(Sampled(recipient=recipient, wallet_pass=outcome))
    return time.monotonic() - started, sample


def _choose(count: int) -> set[int]:
    """Which passes to verify: the first, whose card can always be drawn, and others by chance."""
    others = SystemRandom().sample(range(1, count), min(_VERIFIED, count) - 1)
    return {0, *others}


def _verify(
    console: Console, client: Client, verifier: Verifier, folder: Path, sample: list[Sampled]
) -> list[int]:
    """Verifies the sampled passes and keeps a few: their sizes in bytes."""
    sizes: list[int] = []
    drawn = _choose_drawn(sample)
    for sampled in console.progress(sample, total=len(sample), verb="verified"):
        wallet_pass = sampled.wallet_pass
        bundle = client.get_pass_bundle(pass_id=wallet_pass.pass_id)
        files = verifier.verify(
            bundle,
            serial_number=wallet_pass.serial_number,
            holder_name=sampled.recipient.name,
        )
        sizes.append(len(bundle))
        if len(sizes) <= _KEPT:
            name = f"{wallet_pass.reference_id}.pkpass"
            (folder / "passes" / name).write_bytes(bundle)
        if sampled is drawn:
            draw_card(files, folder / "card.png")
    console.step(f"drew the card of {drawn.recipient.name}; zxing-cpp reads its barcode")
    return sizes


def _choose_drawn(sample: list[Sampled]) -> Sampled:
    """The pass with most letters that are not Latin in its name, of those that can be drawn."""

    def letters_beyond_latin(sampled: Sampled) -> int:
        return sum(letter > _LAST_LATIN for letter in sampled.recipient.name)

    drawable = [each for each in sample if can_draw_name(each.recipient.name)]
    return max(drawable, key=letters_beyond_latin, default=sample[0])


def _conclude(
    console: Console,
    *,
    count: int,
    seconds: float,
    sizes: list[int],
    update: Update,
    folder: Path,
) -> None:
    console.title("Done")
    console.facts(
        [
            ("issued", f"{count:,} passes in {seconds:.1f} s: {count / seconds:,.0f} a second"),
            ("verified", f"{len(sizes)} passes, every signature and every digest"),
            ("size of a .pkpass", f"{sum(sizes) / len(sizes) / 1000:,.0f} kB"),
            ("updated", f"a phone's lock screen, {update.shown:.2f} s after UpdatePass was called"),
        ]
    )
    console.title("Where to look")
    console.facts(
        [
            (str(folder / "card.png"), "a card as drawn from its pass; its barcode was read back"),
            (str(folder / "passes"), f"{min(_KEPT, count)} signed .pkpass files"),
            (str(folder / "recipients.csv"), "who was to get a pass"),
            (str(folder / "issued.csv"), "who got which, with the reference id to read out"),
            (str(folder / "root.pem"), "what `openssl cms -verify -CAfile` takes"),
        ]
    )
    console.title("Next: `make dev` keeps a Passmill running, to try the client in README.md on")
