"""Valkey for tests: one database index a worker, emptied before each test."""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis


def worker_url(url: str, worker: str) -> str:
    """`url` on a database index of the worker's own: `gw3` gets 4, a run without workers 1.

    A server has 16 of them by default; index 0 is left alone, a shared server may use it.
    """
    number = re.sub(r"\D", "", worker)
    index = 1 + int(number or 0) % 15
    parts = urlsplit(url)
    if parts.scheme == "unix":
        query = dict(parse_qsl(parts.query)) | {"db": str(index)}
        return f"unix://{parts.path}?{urlencode(query)}"  # urlunsplit would lose the slashes
    return urlunsplit(parts._replace(path=f"/{index}"))


def empty(url: str) -> None:
    """Removes every key of the URL's database."""
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
