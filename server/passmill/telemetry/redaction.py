"""Keeps secrets and holders out of the log, whoever passes them in.

By name (a key that means a credential or a person), by type (only plain values are shown, never the
`repr` of an object) and by form (text that looks like a credential, a phone number, an address).
"""

import re
from collections.abc import Mapping, MutableMapping, Sequence, Set
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"
MAX_TEXT = 20_000
MAX_DEPTH = 6

# A key that has one of these words among its own, `_` between them: `push_token`, `holder_name`.
SECRET_WORDS = frozenset(
    {
        "token", "tokens", "secret", "secrets", "password", "passwords", "authorization",
        "credential", "credentials", "cookie", "pem", "p12", "pkcs12", "dsn",
        "holder", "holders", "recipient", "recipients", "phone", "phones", "email", "emails",
        "birthday", "values",
    }
)  # fmt: skip
# ... unless it is a number or an id of one: `recipient_count`, `token_bytes`, `holder_id`.
HARMLESS_ENDINGS = ("_count", "_bytes", "_seconds", "_id")
# Whole keys, for words that are harmless in others (`key_id`, `display_name`).
SECRET_KEYS = frozenset(
    {
        "key", "api_key", "private_key", "master_key", "wrapping_key", "wrapped_key", "serial_key",
        "reference_key", "name", "full_name", "first_name", "last_name", "external_id",
        "external_ids", "url", "database_url", "owner_url", "redis_url", "pass_json", "barcode",
    }
)  # fmt: skip
# 64 hex digits are an APNs push token, unless the key says that it is a digest of something public.
PUBLIC_HEX_KEYS = frozenset({"fingerprint", "fingerprint_sha256", "digest", "checksum"})

_PATTERNS = (
    (re.compile(r"(?s)-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)"), REDACTED),
    (re.compile(r"(?i)\b((?:Apple|Android|WalletUnion)Pass|Bearer)\s+\S+"), rf"\1 {REDACTED}"),
    (re.compile(r"\b(pm_[A-Za-z0-9]+)[_.][A-Za-z0-9_-]{16,}"), rf"\1_{REDACTED}"),  # our API keys
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),  # JWT
    (re.compile(r"://[^/\s:@]*:[^/\s@]+@"), f"://{REDACTED}@"),  # password in a URL
    (re.compile(r"(?i)(/p|/claim|/v1/passes)/[A-Za-z0-9_-]{16,}"), rf"\1/{REDACTED}"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), REDACTED),  # e-mail
    (re.compile(r"\+\d[\d ().-]{6,18}\d"), REDACTED),  # phone number, international
)  # fmt: skip
_HEX = re.compile(r"\b[0-9a-fA-F]{64,}\b")


def redact(logger: object, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """structlog processor: the event with everything private replaced by `[redacted]`.

    Runs last before rendering, after exceptions have become text.
    """
    return {key: _redact_item(key, value, 0) for key, value in event.items()}


def redact_text(text: str) -> str:
    """`text` without what looks like a credential or a way to reach a person."""
    return _HEX.sub(REDACTED, _redact_forms(text))


def _redact_item(key: object, value: object, depth: int) -> object:
    name = str(key).lower()
    is_secret = name in SECRET_KEYS or (
        not SECRET_WORDS.isdisjoint(name.split("_")) and not name.endswith(HARMLESS_ENDINGS)
    )
    if is_secret:
        return value if value is None or isinstance(value, bool) else REDACTED
    if isinstance(value, str) and name in PUBLIC_HEX_KEYS:
        return _redact_forms(value)
    return _redact_value(value, depth)


def _redact_value(value: object, depth: int) -> object:
    match value:
        case Enum():
            shown: object = value.name
        case None | bool() | int() | float():
            shown = value
        case str():
            shown = redact_text(value)
        case bytes() | bytearray() | memoryview():
            shown = f"<{len(value)} bytes>"
        case UUID() | Decimal() | timedelta() | PurePath():
            shown = redact_text(str(value))
        case datetime() | date():
            shown = value.isoformat()
        case Mapping() if depth < MAX_DEPTH:
            shown = {
                redact_text(str(key)): _redact_item(key, each, depth + 1)
                for key, each in value.items()
            }
        case Sequence() | Set() if depth < MAX_DEPTH:
            shown = [_redact_value(each, depth + 1) for each in value]
        case _:
            # Never its repr: an object may hold anything.
            shown = f"<{type(value).__name__}>"
    return shown


def _redact_forms(text: str) -> str:
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
