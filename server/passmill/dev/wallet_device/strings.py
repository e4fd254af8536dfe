"""`pass.strings`: the translations in a pass.

Source: Apple, "Creating a pass in several languages", and Foundation's strings files: lines of
`"key" = "value";`, in UTF-16 with its mark or in UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from passmill.dev.wallet_device.errors import BundleRefused

_LINE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*=\s*"((?:[^"\\]|\\.)*)"\s*;', re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def read_strings(content: bytes) -> dict[str, str]:
    """Translations by what stands in pass.json."""
    try:
        text = content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8")
    except UnicodeDecodeError as error:
        raise BundleRefused("pass.strings is neither UTF-16 nor UTF-8") from error
    found = {_plain(each[1]): _plain(each[2]) for each in _LINE.finditer(text)}
    left = _COMMENT.sub("", _LINE.sub("", text)).strip("\ufeff \r\n\t")
    if left:
        raise BundleRefused(f"pass.strings has lines that are none: {left[:40]!r}")
    return found


def choose_strings(languages: Sequence[str], strings: dict[str, dict[str, str]]) -> dict[str, str]:
    """Those of the first language of the owner's that there is: `de-CH`, then `de`."""
    for language in languages:
        for tag in (language, language.split("-", maxsplit=1)[0]):
            if tag in strings:
                return strings[tag]
    return {}


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: _NAMED.get(found[1], found[1]), text)
