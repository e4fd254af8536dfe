"""`passmill-pos`: one command, from its arguments to its exit status."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Final
from uuid import uuid4

from passmill_client import Client, PassmillError
from passmill_pos import arguments
from passmill_pos.answers import RIGHT_MISSING, is_unreached, outcome_of_error
from passmill_pos.config import Config, ConfigWrong, config_path, is_text, read_config
from passmill_pos.desk import RETRY_AFTER, Desk, Done
from passmill_pos.draining import Drain
from passmill_pos.enrolling import enrol
from passmill_pos.intents import Action, Intent
from passmill_pos.offline_bundle import BundleFile
from passmill_pos.offline_checks import OfflineChecks
from passmill_pos.outcomes import ExitStatus
from passmill_pos.printing import Printer
from passmill_pos.queue_file import KeyReused, OfAnotherKey, Queue, QueueUnusable
from passmill_pos.scanned_text import PassName, read_scan
from passmill_pos.service import Service, Unsendable
from passmill_pos.syncing import sync_bundle
from passmill_pos.wedge import Wedge

KEEP_DONE: Final = timedelta(days=30)
"""So long the service knows request ids."""

_API_KEY: Final = re.compile(r"[!-~]+")

_ACTIONS: Final = {action.value.replace("_", "-"): action for action in Action}


def main(words: Sequence[str] | None = None) -> None:
    """Runs one command and exits."""
    parsed = arguments.parser().parse_args(words)
    sys.exit(run(parsed, os.environ))


def run(parsed: argparse.Namespace, environ: Mapping[str, str]) -> ExitStatus:
    """Runs one command; gives the exit status."""
    printer = Printer(as_json=parsed.json, with_names=parsed.names)
    try:
        _check_texts(parsed)
        with ExitStack() as stack:
            return _Counter(parsed, environ, printer, stack).run()
    except PassmillError as error:
        return printer.failed(parsed.command, outcome_of_error(error))
    except KeyboardInterrupt:
        return ExitStatus.FAILED
    except Exception as error:  # noqa: BLE001 - a till takes an exit status of 1 for a "no"
        return printer.problem(parsed.command, *_problem(error))


class _Counter:
    """What the commands are run with, made as they need it."""

    def __init__(
        self,
        parsed: argparse.Namespace,
        environ: Mapping[str, str],
        printer: Printer,
        stack: ExitStack,
    ) -> None:
        self._parsed = parsed
        self._environ = environ
        self._printer = printer
        self._stack = stack
        self._path: Path = parsed.config or config_path(environ)
        self._config = read_config(self._path, environ)

    def run(self) -> ExitStatus:
        """The command."""
        others = {
            "enrol": self._enrol,
            "queue": self._queue_action,
            "reverse": self._reverse,
            "sync-bundle": self._sync_bundle,
            "wedge": self._wedge,
        }
        match self._parsed.command:
            case "find" | "verify":
                is_offline = self._parsed.command == "verify" and self._parsed.offline
                return self._look(self._service(), self._named(), is_offline=is_offline)
            case name if name in others:
                return others[name]()
            case name:
                name_of_pass = self._named()
                desk, _ = self._desk()
                action = _ACTIONS[name]
                done = self._act(desk, name_of_pass, action, key=self._parsed.key)
                return self._printer.done(action.value, done)

    def _look(
        self, service: Service, name: PassName, *, is_offline: bool, queue: Queue | None = None
    ) -> ExitStatus:
        """`queue`: where it is noted whether the service is reached."""
        command = "find" if self._parsed.command == "find" else "verify"
        if not is_offline and not (queue and queue.is_unreached(within=RETRY_AFTER)):
            try:
                answer = service.verify(name, venue_id=self._config.venue_id)
                return self._printer.seen(command, answer)
            except PassmillError as error:
                if command == "find" or not is_unreached(error):
                    raise
                if queue:
                    queue.note_reached(False)
        return self._printer.failed(command, self._checks().check(name).outcome)

    def _act(self, desk: Desk, name: PassName, action: Action, *, key: str | None) -> Done:
        parsed = self._parsed
        intent = Intent(
            action=action,
            name=name,
            offer_id=getattr(parsed, "offer", None) or getattr(parsed, "redeem", None) or "",
            unit=getattr(parsed, "unit", None) or "",
            amount=_amount(parsed),
            total=getattr(parsed, "total", 0),
            currency=getattr(parsed, "currency", ""),
            reference=getattr(parsed, "reference", ""),
            staff=self._config.staff if parsed.staff is None else parsed.staff,
            venue_id=self._config.venue_id,
        )
        return desk.do(intent, key=key or str(uuid4()), is_offline=parsed.offline)

    def _reverse(self) -> ExitStatus:
        parsed = self._parsed
        is_use = parsed.kind == "redemption"
        intent = Intent(
            action=Action.REVERSE_REDEMPTION if is_use else Action.REVERSE_ENTRY,
            name=None,
            target_id=parsed.target_id,
            reference=parsed.reason,
        )
        desk, _ = self._desk()
        return self._printer.done("reverse", desk.do(intent, key=parsed.key or str(uuid4())))

    def _wedge(self) -> ExitStatus:
        parsed = self._parsed
        if parsed.key is not None:
            raise ConfigWrong("wedge makes a key for each scan")
        if (parsed.earn or parsed.burn) and not parsed.unit:
            raise ConfigWrong("--earn and --burn need --unit")
        desk, drain = self._desk()
        service = self._service()
        action = _wedge_action(parsed)

        def act(name: PassName) -> ExitStatus:
            if action is None:
                return self._wedge_look(service, name)
            done = self._act(desk, name, action, key=None)
            status = self._printer.done(action.value, done)
            # It may lack the right for this name alone.
            return ExitStatus.REFUSED if done.outcome.reason == RIGHT_MISSING else status

        def send_kept() -> None:
            if self._queue.waiting() > self._queue.of_others() and not parsed.offline:
                self._printer.drained_before(drain.run())

        wedge = Wedge(
            act=act,
            refuse=lambda message: self._printer.problem("wedge", message, ExitStatus.USAGE),
            when_idle=send_kept,
            guard_seconds=parsed.guard,
        )
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        with suppress(KeyboardInterrupt):
            if wedge.run(sys.stdin) is ExitStatus.NO_RIGHT:
                return ExitStatus.NO_RIGHT
            send_kept()
        return ExitStatus.KEPT if self._queue.waiting() else ExitStatus.DONE

    def _wedge_look(self, service: Service, name: PassName) -> ExitStatus:
        is_offline = self._parsed.offline
        try:
            status = self._look(service, name, is_offline=is_offline, queue=self._queue)
        except PassmillError as error:
            return self._printer.failed("verify", outcome_of_error(error))
        return ExitStatus.REFUSED if status is ExitStatus.NO_RIGHT else status

    def _enrol(self) -> ExitStatus:
        parsed = self._parsed
        config = replace(
            self._config,
            address=parsed.address or self._config.address,
            ca_file=str(parsed.ca_file.resolve()) if parsed.ca_file else self._config.ca_file,
            plaintext=parsed.plaintext or self._config.plaintext,
            api_key="",
        )
        if not config.address:
            raise ConfigWrong("no address: give --address, or set PASSMILL_ADDRESS")
        self._open_queue()
        if (waiting := self._queue.waiting()) and not parsed.keep_queue:
            raise ConfigWrong(
                f"{waiting} kept entries are of the key that there is: passmill-pos queue drain,"
                " or --keep-queue"
            )
        enrolled = enrol(
            parsed.code,
            display_name=parsed.name,
            config=config,
            path=self._path,
            # Nobody is asked for a credential here; a client has one.
            connect=lambda: _connect(replace(config, api_key="none")),
        )
        # A crash before this leaves them the old key's; `queue adopt` is there then, too.
        self._queue.adopt(read_config(self._path, self._environ).origin)
        return self._printer.facts(
            "enrol",
            {
                "scanner": enrolled.scanner_name,
                "scanner_id": enrolled.scanner_id,
                "venue": enrolled.venue_name,
                "venue_id": enrolled.venue_id,
                "config": str(self._path),
            },
        )

    def _sync_bundle(self) -> ExitStatus:
        file = self._bundle_file()
        synced = sync_bundle(self._service(), file, venue_id=self._config.venue_id)
        bundle = synced.bundle
        return self._printer.facts(
            "sync-bundle",
            {
                "keys": len(bundle.keys),
                "voided": bundle.voided_count,
                "offers": len(bundle.max_uses),
                "valid_until": bundle.valid_until.isoformat(),
                "is_unchanged": synced.is_unchanged,
                "file": str(file.path),
            },
        )

    def _queue_action(self) -> ExitStatus:
        parsed = self._parsed
        if parsed.queue_action == "list":
            self._open_queue()
            return self._printer.entries(self._queue.entries(with_done=parsed.all))
        if parsed.queue_action == "drop":
            self._open_queue()
            if not self._queue.drop(parsed.key):
                return self._printer.problem("queue", "there is no such key", ExitStatus.REFUSED)
            return self._printer.facts("queue", {"dropped": parsed.key})
        if parsed.queue_action == "adopt":
            if not self._config.origin:
                raise ConfigWrong("there is no API key to adopt it for")
            self._open_queue()
            adopted = self._queue.adopt(self._config.origin)
            return self._printer.facts("queue", {"adopted": adopted})
        _, drain = self._desk()
        drained = drain.run(wait=True)
        return self._printer.drained(
            drained, waiting=self._queue.waiting(), of_others=self._queue.of_others()
        )

    def _named(self) -> PassName:
        try:
            return read_scan(self._parsed.pass_name, by=self._parsed.by)
        except ValueError as error:
            raise ConfigWrong(f"PASS {error}") from None

    def _desk(self) -> tuple[Desk, Drain]:
        self._open_queue()
        self._queue.forget(before=_now() - KEEP_DONE)
        service = self._service()
        drain = Drain(service=service, queue=self._queue)
        desk = Desk(service=service, queue=self._queue, drain=drain, checks=self._checks())
        return desk, drain

    def _checks(self) -> OfflineChecks:
        return OfflineChecks(self._bundle_file(), now=_now)

    def _bundle_file(self) -> BundleFile:
        path = self._config.bundle_path(self._environ)
        return BundleFile(path, api_key=self._config.api_key)

    def _open_queue(self) -> None:
        path = self._config.queue_path(self._environ)
        self._queue = self._stack.enter_context(Queue(path, now=_now, origin=self._config.origin))

    def _service(self) -> Service:
        config = self._config
        return Service(
            self._stack.enter_context(_connect(config)),
            is_scanner=bool(config.scanner_id),
            timeout_seconds=config.timeout_seconds,
        )


def _connect(config: Config) -> Client:
    if config.api_key and not _API_KEY.fullmatch(config.api_key):
        raise ConfigWrong(
            "api_key has characters that are in no API key: a space, the end of a line"
        )
    try:
        return Client(
            config.address or None,
            config.api_key or None,
            channels=1,
            timeout=config.timeout_seconds,
            root_certificates=config.root_certificates,
            plaintext=config.plaintext,
        )
    except ValueError as error:
        raise ConfigWrong(f"{error}; or run passmill-pos enrol") from None


def _wedge_action(parsed: argparse.Namespace) -> Action | None:
    chosen = {
        Action.REDEEM: parsed.redeem,
        Action.CHECK_IN: parsed.check_in,
        Action.CHECK_OUT: parsed.check_out,
        Action.EARN: parsed.earn,
        Action.BURN: parsed.burn,
    }
    return next((action for action, value in chosen.items() if value), None)


def _amount(parsed: argparse.Namespace) -> int:
    amounts = (getattr(parsed, name, None) for name in ("amount", "earn", "burn", "most"))
    return next((amount for amount in amounts if amount), 0)


def _check_texts(parsed: argparse.Namespace) -> None:
    for name, value in vars(parsed).items():
        if isinstance(value, str) and not is_text(value):
            raise ConfigWrong(f"{name.replace('_', '-')} is not UTF-8")


def _problem(error: Exception) -> tuple[str, ExitStatus]:
    """What to tell of what went wrong on this side."""
    match error:
        case ConfigWrong() | Unsendable():
            return str(error), ExitStatus.USAGE
        case KeyReused():
            return f"the key {error} was used for something else", ExitStatus.USAGE
        case OfAnotherKey():
            return (
                f"the entry {error} was noted under another API key: send it with that key, or"
                " passmill-pos queue adopt",
                ExitStatus.USAGE,
            )
        case QueueUnusable() | OSError():
            return str(error), ExitStatus.FAILED
    # Nobody foresaw it. Its text may be of a person.
    [*_, last] = traceback.extract_tb(error.__traceback__)
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return f"{type(error).__name__} in {where}", ExitStatus.FAILED


def _now() -> datetime:
    return datetime.now(UTC)
