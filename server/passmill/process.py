"""The frame of every process of the service: settings, logs, refusals, the end.

Standard input is the supervisor's end of a pipe: when the supervisor dies, however it does, the
pipe closes and the process drains and ends too.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import NoReturn, TextIO

import structlog
import uvloop
from pydantic import ValidationError

from passmill.edge.open_files import TooFewFiles
from passmill.settings import MissingSetting, Settings, UnknownSetting, load_settings
from passmill.signing.freshness import StaleSigner
from passmill.store.database import find_fault
from passmill.store.deployment import WrongEdgeKey, WrongMasterKey
from passmill.store.migrate import MigrationRefused
from passmill.store.roles import RoleRefused
from passmill.telemetry.logging import configure_logging

# From sysexits.h: what is wrong stays wrong, so starting again is no use.
EX_CONFIG = 78
# Each of them says in its message what is wrong, and shows no secret.
_REFUSALS = (
    MissingSetting,
    MigrationRefused,
    RoleRefused,
    StaleSigner,
    TooFewFiles,
    WrongEdgeKey,
    WrongMasterKey,
)
_FIRST_WAIT_SECONDS = 0.1
_LAST_WAIT_SECONDS = 5.0


def run_process(serve: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Runs `serve` with the settings of this process until SIGTERM, SIGINT or the supervisor's end;
    exits with EX_CONFIG when it could not keep its promises here."""
    settings, audit = _prepare()
    try:
        with (
            audit as audit_stream,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            configure_logging(
                level=settings.log.level,
                log_format=settings.log.format,
                audit_stream=audit_stream,
            )
            runner.run(_serve(settings, serve))
    except* _REFUSALS as refused:
        _refuse(_leaves(refused))


def _prepare() -> tuple[Settings, AbstractContextManager[TextIO | None]]:
    """The settings, and the audit log that they name."""
    try:
        settings = load_settings()
        return settings, _audit_stream(settings.log.audit_file)
    except (UnknownSetting, ValidationError, OSError) as error:
        configure_logging()
        _refuse([error])


def _refuse(errors: Iterable[Exception]) -> NoReturn:
    for error in errors:
        structlog.get_logger("passmill").error("process.refused", problem=str(error))
    sys.exit(EX_CONFIG)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _audit_stream(path: Path | None) -> AbstractContextManager[TextIO | None]:
    # Appended a line at a time: the processes of a machine share the file.
    return nullcontext() if path is None else path.open("a", encoding="utf-8", buffering=1)


async def _serve(
    settings: Settings, serve: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_stop_at_end(reader, stop))
        if await _await_database(settings.database_url.get_secret_value(), stop):
            await serve(settings, stop)
        watching.cancel()
    transport.close()


async def _await_database(url: str, stop: asyncio.Event) -> bool:
    """Waits until PostgreSQL takes connections, and says that it waits; False when told to stop."""
    log = structlog.get_logger("passmill")
    delay = _FIRST_WAIT_SECONDS
    while (fault := await find_fault(url)) is not None:
        log.warning("process.waiting_for_database", fault=fault, next_try_seconds=delay)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=delay)
        if stop.is_set():
            return False
        delay = min(2 * delay, _LAST_WAIT_SECONDS)
    return True


async def _stop_at_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await reader.read()
    stop.set()
