"""structlog for our events and the standard library's records alike: JSON or console, redacted.

Events are constants (`pass.issued`), facts are keys. `request_id`, `method` and the like are bound
by contextvars. The audit log is apart: no level hides it, and it may have a file of its own.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

from passmill.telemetry.exceptions import describe_exception, without_quoted_values
from passmill.telemetry.redaction import redact

LogFormat = Literal["json", "console"]


# Whoever logs here says what was done with keys and identities, and by whom.
AUDIT_LOGGER = "passmill.audit"


def configure_logging(
    *,
    level: str = "INFO",
    log_format: LogFormat = "json",
    stream: TextIO | None = None,
    audit_stream: TextIO | None = None,
) -> None:
    """Sets up structlog and the root logger; called once, by the program's entry.

    `level`: a name of the logging module. `stream`: standard error when None.
    `audit_stream`: for what goes to the logger `passmill.audit`; with the rest when None.
    """
    stream = stream if stream is not None else sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared_processors(), *_last_processors(log_format, stream)],
        wrapper_class=_wrapper(number),
        logger_factory=_NamedLoggers(stream, audit=audit_stream or stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                _drop_quoted_values,
                *_shared_processors(),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_last_processors(log_format, stream),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries report what went wrong; their chatter is worth reading only when asked for.
    root.setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))


class _NamedLoggers:
    """Makes structlog's loggers; the name given to `get_logger` becomes the key `logger`."""

    def __init__(self, stream: TextIO, *, audit: TextIO) -> None:
        self._stream = stream
        self._audit = audit

    def __call__(self, *arguments: object) -> "_NamedLogger":
        name = str(arguments[0]) if arguments else "passmill"
        return _NamedLogger(self._audit if name == AUDIT_LOGGER else self._stream, name=name)


class _NamedLogger(structlog.WriteLogger):
    def __init__(self, stream: TextIO, *, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _wrapper(number: int) -> type[structlog.typing.BindableLogger]:
    """Leaves out what is below the level `number`, but nothing of the audit log."""
    filtering = structlog.make_filtering_bound_logger(number)
    everything = structlog.make_filtering_bound_logger(logging.NOTSET)

    def wrap(
        logger: object, processors: Sequence[Processor], context: structlog.typing.Context
    ) -> structlog.typing.BindableLogger:
        is_audit = isinstance(logger, _NamedLogger) and logger.name == AUDIT_LOGGER
        chosen: Callable[..., structlog.typing.BindableLogger] = (
            everything if is_audit else filtering
        )
        return chosen(logger, processors, context)

    # structlog calls it and asks nothing else of it.
    return wrap  # type: ignore[return-value]


def _add_logger_name(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if isinstance(logger, _NamedLogger):
        event.setdefault("logger", logger.name)
    return event


def _drop_quoted_values(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Libraries write what they were given into their messages, quoted as by `repr`."""
    event["event"] = without_quoted_values(str(event["event"]))
    return event


def _shared_processors() -> Sequence[Processor]:
    return (
        structlog.contextvars.merge_contextvars,
        _add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    )


def _last_processors(log_format: LogFormat, stream: TextIO) -> Sequence[Processor]:
    """Exceptions become text before redaction sees them."""
    exceptions = structlog.processors.ExceptionRenderer(describe_exception)
    if log_format == "console":
        return (
            exceptions,
            redact,
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                timestamp_key="time",
                pad_event_to=28,
                exception_formatter=structlog.dev.plain_traceback,
            ),
        )
    return (
        exceptions,
        redact,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    )
