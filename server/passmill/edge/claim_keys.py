"""Where a browser keeps its claim key: in a cookie for each link, HttpOnly.

Whatever asks for anything, a key becomes a cookie in two cases only: the server has just made it,
for a page with a form; or a pass was claimed with it before. So nobody can have somebody else claim
with a key that they know.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from passmill.domain.api_keys import hash_secret
from passmill.domain.claims import is_claim_key

_COOKIE: Final = "passmill_claim"
_SECONDS: Final = 400 * 86_400  # as long as browsers keep any
_OUR_OWN: Final = frozenset({"same-origin", "none", ""})


def cookie_name(token: str) -> str:
    """Under which a browser keeps its claim key: another one for each link."""
    return f"{_COOKIE}_{hash_secret(token)[:8].hex()}"


def own_key(request: Request) -> str:
    """The browser's claim key for the page's link, '' when it has none."""
    key = request.cookies.get(cookie_name(request.path_params["token"]), "")
    return key if is_claim_key(key) else ""


def is_from_elsewhere(request: Request) -> bool:
    """Whether another site's page had the browser send this (Fetch Metadata, Sec-Fetch-Site). A
    browser too old to say so sends no cookie with it either, as ours are SameSite=Lax; its Origin
    tells nothing, because of our referrer policy."""
    return request.headers.get("sec-fetch-site", "") not in _OUR_OWN


def keep_key(answer: Response, token: str, claim_key: str, *, is_encrypted: bool) -> None:
    """Has the browser keep the key, from the page's own address."""
    _set(answer, token, claim_key, seconds=_SECONDS, is_encrypted=is_encrypted)


def drop_key(answer: Response, token: str, *, is_encrypted: bool) -> None:
    """Has the browser forget its key."""
    _set(answer, token, "", seconds=0, is_encrypted=is_encrypted)


def _set(answer: Response, token: str, text: str, *, seconds: int, is_encrypted: bool) -> None:
    answer.set_cookie(
        cookie_name(token),
        text,
        max_age=seconds,
        path=None,  # the folder of this page, whatever a proxy calls that
        secure=is_encrypted,
        httponly=True,
        samesite="lax",
    )
