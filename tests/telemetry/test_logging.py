"""The log shows what happened and never a secret or a holder, whichever way they come in."""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from passmill.telemetry.logging import AUDIT_LOGGER, configure_logging
from passmill.telemetry.redaction import REDACTED, redact, redact_text

PUSH_TOKEN = "c0ffee" * 10 + "beef"
AUTHENTICATION_TOKEN = "vxwxd7J8AlNNFPS8k0a0FfUFtq0ewzFdc"
CLAIM_TOKEN = "Zk3-9wQxJ0aPl2sD8fGhT5"
API_KEY_SECRET = "q7Zr1VYy0cJbN4mWkT8uLxE2sHdGfA9pQoIiUuYtReW"
API_KEY = f"pm_k4z9x2m1p0aa_{API_KEY_SECRET}"
KEY_MATERIAL = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY_MATERIAL}\n-----END PRIVATE KEY-----"
HOLDER = "Zoë Canary"
PHONE = "+49 170 1234567"
EMAIL = "zoe@canary.example"
CANARIES = (
    PUSH_TOKEN, AUTHENTICATION_TOKEN, CLAIM_TOKEN, API_KEY_SECRET, KEY_MATERIAL, "hunter2",
    HOLDER, PHONE, EMAIL,
)  # fmt: skip


@dataclass
class Person:
    """An object of ours that somebody logs whole."""

    name: str
    token: str


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Gives structlog and the root logger back as they were."""
    root = logging.getLogger()
    handlers, level, configured = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


def raise_with_canaries() -> None:
    """Fails as drivers do: quoting what they were given, one cause below another."""
    try:
        raise ValueError(f"invalid input syntax for type integer: {HOLDER!r}")
    except ValueError as error:
        raise RuntimeError(f'cannot reach "{PHONE}" with Bearer {API_KEY}') from error


def log_canaries(log: structlog.typing.FilteringBoundLogger) -> None:
    """Every way a secret was ever seen to reach a log."""
    log.info("pass.issued", push_token=PUSH_TOKEN, authentication_token=AUTHENTICATION_TOKEN)
    log.info("pass.issued", holder={"name": HOLDER}, holder_name=HOLDER, name=HOLDER)
    log.info("pass.issued", phone=PHONE, values={"first": HOLDER}, external_ids=[HOLDER])
    log.info("request", headers={"Authorization": f"Bearer {API_KEY}", "x": [API_KEY]})
    loose = f"{PEM} {PUSH_TOKEN} {PHONE} {EMAIL} ApplePass {AUTHENTICATION_TOKEN}"
    log.info(loose, also=loose)
    log.info("edge", path=f"/p/{CLAIM_TOKEN}", other=f"see /claim/{CLAIM_TOKEN}?x=1")
    log.info("database", dsn="x", at="postgresql://app:hunter2@db.internal/passmill")
    log.info("identity", content=PEM.encode(), p12=b"hunter2", object=Person(HOLDER, API_KEY))
    log.info("deep", a={"b": ({"c": {"password": "hunter2", "x": Person(HOLDER, API_KEY)}},)})
    try:
        raise_with_canaries()
    except RuntimeError as error:
        log.error("rpc.failed", exc_info=error)  # noqa: TRY400 - as the interceptor does
        logging.getLogger("asyncpg").exception("query failed for %r", HOLDER)
    group = ExceptionGroup("two", [KeyError(HOLDER), ValueError(f"'{PUSH_TOKEN}'")])
    log.error("group", exc_info=group)
    logging.getLogger("asyncio").error("exception=ValueError(%r) %s", HOLDER, PEM)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_canaries_never_reach_the_log(log_format: Literal["json", "console"]) -> None:
    """No token, key or holder shows, given by name, in text, in objects or in exceptions."""
    stream = StringIO()
    configure_logging(stream=stream, log_format=log_format)
    structlog.contextvars.bind_contextvars(claim_token=CLAIM_TOKEN, method="PassService/IssuePass")
    log_canaries(structlog.get_logger("test"))
    structlog.get_logger(AUDIT_LOGGER).info("key.created", secret=API_KEY)
    written = stream.getvalue()
    assert [canary for canary in CANARIES if canary in written] == []
    for seen in ("pass.issued", "rpc.failed", "query failed", "RuntimeError", "<Person>"):
        assert seen in written


def test_json_lines_keep_what_is_harmless() -> None:
    """Each line is one JSON object with time, level, logger, bound context and plain facts."""
    stream = StringIO()
    configure_logging(stream=stream)
    structlog.contextvars.bind_contextvars(method="PassService/GetPass")
    structlog.get_logger("passmill.rpc").info(
        "rpc.handled", code="OK", milliseconds=1.25, key_id="k4z9x2m1p0aa", recipient_count=7,
        fingerprint="ab" * 32, pass_id="0193e6c2-7d50-7cc3-98c4-dc0c0c07398f", ok=True, none=None,
    )  # fmt: skip
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "rpc.handled", "level": "info", "logger": "passmill.rpc", "code": "OK",
        "method": "PassService/GetPass", "milliseconds": 1.25, "key_id": "k4z9x2m1p0aa",
        "recipient_count": 7, "fingerprint": "ab" * 32, "ok": True, "none": None,
        "pass_id": "0193e6c2-7d50-7cc3-98c4-dc0c0c07398f",
    }  # fmt: skip


def test_exception_text_says_kind_place_and_cause() -> None:
    """A logged exception names its type, the frames and the cause, and keeps lower-case names."""
    stream = StringIO()
    configure_logging(stream=stream)
    try:
        try:
            raise LookupError('relation "passes" does not exist')
        except LookupError as error:
            raise RuntimeError("cannot list") from error
    except RuntimeError:
        structlog.get_logger().error("failed", exc_info=True)
    text = json.loads(stream.getvalue())["exception"]
    assert text.splitlines()[0] == "RuntimeError: cannot list"
    assert 'LookupError: relation "passes" does not exist' in text
    assert "in test_exception_text_says_kind_place_and_cause" in text
    assert "caused by" in text


def test_audit_log_ignores_the_level() -> None:
    """An audit event is written though the log's level would drop it: to its own stream when there
    is one, else with the rest."""
    ordinary, audit = StringIO(), StringIO()
    for stream in (audit, None):
        configure_logging(stream=ordinary, level="error", audit_stream=stream)
        structlog.get_logger("passmill.rpc").info("pass.issued")
        structlog.get_logger(AUDIT_LOGGER).info("api_key.created", by="key")
    for text in (audit.getvalue(), ordinary.getvalue()):
        written = json.loads(text)
        assert (written["event"], written["logger"], written["by"]) == (
            "api_key.created",
            AUDIT_LOGGER,
            "key",
        )


async def test_context_is_of_the_task() -> None:
    """What one call binds is not in another call's lines."""
    stream = StringIO()
    configure_logging(stream=stream)

    async def call(method: str) -> None:
        structlog.contextvars.bind_contextvars(method=method)
        await asyncio.sleep(0)
        structlog.get_logger().info("rpc.handled", told=method)

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(call(f"method-{number}"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 5
    assert all(line["method"] == line["told"] for line in lines)


@given(st.text(alphabet="abcdefABCDEF0123456789", min_size=64, max_size=200))
def test_push_tokens_of_any_length_are_found(token: str) -> None:
    """Hex text from 64 digits on is a push token wherever it stands."""
    assert token not in redact_text(f"push to {token}, again")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_value_becomes_json(value: object) -> None:
    """Whatever is logged, redaction ends and leaves something JSON can hold."""
    json.dumps(redact(None, "info", {"event": "x", "value": value}))


def test_redaction_is_by_word_not_by_part_of_a_word() -> None:
    """`tokenizer` is no token, `claim_token` is; a missing token stays visible as missing."""
    event = {"tokenizer": "x", "claim_token": "y", "push_token": None}
    assert redact(None, "info", event) == {
        "tokenizer": "x",
        "claim_token": REDACTED,
        "push_token": None,
    }
