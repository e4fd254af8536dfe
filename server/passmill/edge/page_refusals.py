"""What people and scripts are told when a request does not get to their pages: pages and Connect's
errors, made beforehand, as there may be no time for more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.types import Scope

from passmill.edge.claim_view import ClaimPage, ClaimView, headers_of
from passmill.edge.exchange import Answer, Header
from passmill.edge.refusals import Refusal, RefusalReason, answer_of

_PEOPLE: Final = "/p/"
# https://connectrpc.com/docs/protocol#error-codes
_CONNECT: Final[Mapping[RefusalReason, tuple[int, str]]] = {
    RefusalReason.RATE_LIMITED: (429, "resource_exhausted"),
    RefusalReason.BUSY: (503, "unavailable"),
    RefusalReason.UNAVAILABLE: (503, "unavailable"),
    RefusalReason.DEADLINE: (504, "deadline_exceeded"),
}
_CONNECT_REST: Final = (500, "internal")


class PageRefusals:
    """Puts refusals as whoever asked understands them."""

    __slots__ = ("_allowed_origins", "_calls", "_pages", "_view")

    def __init__(
        self, *, view: ClaimView, calls: Sequence[str], allowed_origins: Sequence[str]
    ) -> None:
        """`calls`: the paths below which scripts call; `allowed_origins`: of their pages (CORS)."""
        self._view = view
        self._calls = tuple(f"{path}/" for path in calls)
        self._allowed_origins = frozenset(allowed_origins)
        self._pages = {
            (language, is_crowded): _page(view, language, is_crowded=is_crowded)
            for language in view.languages
            for is_crowded in (True, False)
        }

    def __call__(self, scope: Scope, refusal: Refusal) -> Answer:
        """The answer: a page below /p/, an error where scripts call, else as a device gets it."""
        answer, path = answer_of(refusal), scope["path"]
        headers = [each for each in answer.headers if each[0] != b"content-type"]
        if path.startswith(_PEOPLE):
            language = self._view.language(_header(scope, b"accept-language"))
            is_crowded = refusal.reason in _CONNECT
            page_headers, html = self._pages[language, is_crowded]
            return Answer(status=answer.status, headers=[*headers, *page_headers], body=html)
        if path.startswith(self._calls):
            status, code = _CONNECT.get(refusal.reason, _CONNECT_REST)
            headers += [(b"content-type", b"application/json"), (b"vary", b"origin")]
            origin = _header(scope, b"origin")
            if origin in self._allowed_origins:
                headers.append((b"access-control-allow-origin", origin.encode()))
            message = "Call again later." if code != _CONNECT_REST[1] else "An error inside."
            body = json.dumps({"code": code, "message": message}).encode()
            return Answer(status=status, headers=headers, body=body)
        return answer


def _page(view: ClaimView, language: str, *, is_crowded: bool) -> tuple[Sequence[Header], bytes]:
    page = ClaimPage(state="UNAVAILABLE", heading="crowded_title" if is_crowded else "failed_title")
    visitor = view.visitor(user_agent="", accepted="", wanted=language, wallet="")
    html, nonce = view.render(page, visitor)
    headers = {"content-type": "text/html; charset=utf-8", "referrer-policy": "no-referrer"}
    headers |= headers_of(language, nonce)  # of no style in it, so that it may be known
    return [(name.encode(), text.encode()) for name, text in headers.items()], html.encode()


def _header(scope: Scope, name: bytes) -> str:
    """The first one, '' for none."""
    for each, value in scope["headers"]:
        if each == name:
            text: str = value.decode("latin-1")
            return text
    return ""
