"""The pages by which people claim passes: /p/{token}. All addresses in them are relative, as a
proxy may serve them below a path of its own.

GET and HEAD use nothing up, however often: mail scanners and previews ask, too. POST claims, with
the claim key that the browser was given as a cookie together with the form: by it a form sent twice
is the same claim, and the browser gets its pass, even if the answer to the form is lost.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from passmill.domain.claim_forms import ClaimAnswers, FieldKind
from passmill.domain.claims import ClaimState, is_claim_key, is_claim_token, new_claim_token
from passmill.edge.claim_keys import drop_key, is_from_elsewhere, keep_key, own_key
from passmill.edge.claim_view import ClaimPage, ClaimView, Visitor, headers_of
from passmill.edge.exchange import CLIENT_CLOSED, BodyTooLarge
from passmill.edge.http_dates import format_http_date
from passmill.errors import AppError, ErrorKind, Reason
from passmill.usecases.claim_branding import Branding
from passmill.usecases.claim_pass import ClaimPass
from passmill.usecases.recover_claim import RecoverClaim, RecoveryOutcome
from passmill.usecases.resolve_claim import ResolveClaim, ResolvedClaim
from passmill.usecases.serve_pass import ServePass

_MAX_FORM_BYTES: Final = 32 << 10
_MAX_FORM_FIELDS: Final = 64
_PKPASS: Final = "application/vnd.apple.pkpass"
_BUSY_SECONDS: Final = "3"
# In the address of a page to which a form without a cookie leads.
_NO_COOKIE: Final = "no-cookie"
# It may have been taken in: the page that follows knows, by the key.
_ON_ITS_WAY: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE})
_STATUS: Final[Mapping[ClaimState, int]] = {
    ClaimState.EXPIRED: 410,
    ClaimState.REVOKED: 410,
    ClaimState.USED_UP: 410,
    ClaimState.UNAVAILABLE: 503,
}
_HEADINGS: Final[Mapping[ClaimState, str]] = {
    ClaimState.OPEN: "get_pass",
    ClaimState.CLAIMED: "ready_title",
    ClaimState.CLAIMED_ELSEWHERE: "elsewhere_title",
    ClaimState.USED_UP: "used_up_title",
    ClaimState.EXPIRED: "expired_title",
    ClaimState.REVOKED: "revoked_title",
    ClaimState.UNAVAILABLE: "unavailable_title",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimUseCases:
    """What the pages do."""

    resolve_claim: ResolveClaim
    claim_pass: ClaimPass
    recover_claim: RecoverClaim
    serve_pass: ServePass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A form as it was sent, with what is wrong by path; or a new one."""

    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    problems: Mapping[str, str] = field(default_factory=dict)


class ClaimPages:
    """The routes below /p/."""

    def __init__(
        self,
        *,
        use_cases: ClaimUseCases,
        view: ClaimView,
        public_url: str | None,
        is_encrypted: bool,
        request_seconds: float,
    ) -> None:
        """`public_url`: what the code on a desktop's page begins with; None for no code.
        `is_encrypted`: browsers come by HTTPS. `request_seconds`: how long a request may take."""
        self._use_cases = use_cases
        self._view = view
        self._public_url = public_url
        self._is_encrypted = is_encrypted
        self._request_seconds = request_seconds
        self._log = structlog.get_logger("passmill.edge")

    def routes(self) -> list[Route]:
        """For the edge's application."""
        return [
            Route("/p/-/claim.css", self._file(self._view.style, "text/css"), methods=["GET"]),
            Route(
                "/p/-/claim.js", self._file(self._view.script, "text/javascript"), methods=["GET"]
            ),
            Route("/p/{token}", self._guarded(self._page_of), methods=["GET", "POST"]),
            Route("/p/{token}/logo.png", self._guarded(self._logo), methods=["GET"]),
            Route("/p/{token}/pass.pkpass", self._guarded(self._bundle), methods=["GET"]),
        ]

    async def _page_of(self, request: Request, visitor: Visitor) -> Response:
        if request.method == "POST":
            return await self._post(request, visitor)
        return await self._show(request, visitor)

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        token = _token(request)
        handed_over = request.query_params.get("key", "")
        if is_claim_key(handed_over):
            return await self._take_over(request, token, handed_over)
        return await self._resolved(request, visitor, token)

    async def _take_over(self, request: Request, token: str, handed_over: str) -> Response:
        """From the code on another screen of whoever has claimed it. Not left in the address."""
        answer = RedirectResponse(token, status_code=303)
        # Never instead of a pass that is there already, and nothing that somebody made up.
        if not await self._has_claimed(token, own_key(request)) and await self._has_claimed(
            token, handed_over
        ):
            self._keep_key(answer, token, handed_over)
        return answer

    async def _has_claimed(self, token: str, claim_key: str) -> bool:
        resolved = await self._use_cases.resolve_claim(token, claim_key, deadline=self._deadline())
        return resolved.state is ClaimState.CLAIMED

    async def _resolved(
        self,
        request: Request,
        visitor: Visitor,
        token: str,
        *,
        form: _Form | None = None,
        refused: int | None = None,
    ) -> Response:
        """The page of a link as it is now. `form`: one to be corrected; `refused`: with which
        status, where it answers what was not done."""
        resolved = await self._use_cases.resolve_claim(
            token, own_key(request), deadline=self._deadline()
        )
        page = self._page(request, token, resolved, form or _Form())
        if refused is not None:
            return self._html(page, visitor, status=refused)
        answer = self._html(page, visitor, status=_STATUS.get(resolved.state, 200))
        if page.state == "BUSY":
            answer.headers["refresh"] = _BUSY_SECONDS
        elif resolved.state is ClaimState.OPEN and not own_key(request):
            self._keep_key(answer, token, new_claim_token())
        return answer

    def _page(
        self, request: Request, token: str, resolved: ResolvedClaim, form: _Form
    ) -> ClaimPage:
        url = ""
        if resolved.state is ClaimState.OPEN:
            url = self._url(token)
        elif resolved.state is ClaimState.CLAIMED:
            url = self._url(token) and f"{self._url(token)}?key={own_key(request)}"
        # Claimed, and the worker has not made it yet.
        is_busy = resolved.state is ClaimState.CLAIMED and resolved.pass_id is None
        return ClaimPage(
            state="BUSY" if is_busy else resolved.state.name,
            heading="busy_title" if is_busy else _HEADINGS[resolved.state],
            token=token,
            look=resolved.branding,
            form=resolved.fields,
            given=form.given,
            problems=form.problems,
            default_region=resolved.default_region,
            needs_cookie=_NO_COOKIE in request.query_params and not own_key(request),
            recovery=resolved.recovery,
            can_ask=resolved.recovery is not None,
            reference_id=resolved.reference_id,
            url=url,
        )

    async def _post(self, request: Request, visitor: Visitor) -> Response:
        token = _token(request)
        form = await _read_form(request)
        if is_from_elsewhere(request):
            return await self._resolved(request, visitor, token, refused=403)
        if form.get("action") == "recover":
            return await self._recover(request, visitor, token, form)
        if form.get("action") == "forget":
            answer = RedirectResponse(token, status_code=303)
            drop_key(answer, token, is_encrypted=self._is_encrypted)
            return answer
        return await self._claim(request, visitor, token, form)

    async def _claim(
        self, request: Request, visitor: Visitor, token: str, form: Mapping[str, str]
    ) -> Response:
        claim_key = own_key(request)
        if not claim_key:
            # Without a cookie it would be claimed and never found again. Only the page gives one.
            await self._use_cases.resolve_claim(token, "", deadline=self._deadline())
            return RedirectResponse(f"{token}?{_NO_COOKIE}", status_code=303)
        try:
            claimed = await self._use_cases.claim_pass(
                token,
                claim_key,
                _answers(form),
                deadline=self._deadline(),
                client=request.state.client,
            )
        except AppError as error:
            if error.kind in _ON_ITS_WAY:
                return RedirectResponse(token, status_code=303)
            if error.reason is not Reason.INVALID_VALUES:
                raise
            problems = {each.path.removeprefix("answers."): each.message for each in error.fields}
            corrected = _Form(given=form, problems=problems)
            return await self._resolved(request, visitor, token, form=corrected, refused=422)
        if claimed.state is not ClaimState.CLAIMED:
            page = ClaimPage(
                state=claimed.state.name,
                heading=_HEADINGS[claimed.state],
                token=token,
                look=await self._look(token),
                given={name: form[name] for name in ("phone", "email") if form.get(name)},
                recovery=claimed.recovery,
                can_ask=claimed.recovery is not None or claimed.is_same_person,
            )
            return self._html(page, visitor, status=_STATUS.get(claimed.state, 409))
        # Whoever reloads the page that follows sends nothing again.
        answer = RedirectResponse(token, status_code=303)
        self._keep_key(answer, token, claim_key)
        return answer

    async def _recover(
        self, request: Request, visitor: Visitor, token: str, form: Mapping[str, str]
    ) -> Response:
        recovered = await self._use_cases.recover_claim(
            token, _answers(form), deadline=self._deadline(), client=request.state.client
        )
        if recovered.outcome is RecoveryOutcome.NOTHING:
            return RedirectResponse(token, status_code=303)  # to what the link gives
        is_over = recovered.outcome is RecoveryOutcome.OVER
        page = ClaimPage(
            state="RECOVERED",
            heading="recovered_often_title" if is_over else "recovered_title",
            token=token,
            look=await self._look(token),
            recovery=recovered.recovery,
        )
        return self._html(page, visitor)

    async def _look(self, token: str) -> Branding:
        return (await self._use_cases.resolve_claim(token, "", deadline=self._deadline())).branding

    async def _logo(self, request: Request, _: Visitor) -> Response:
        content = await self._use_cases.resolve_claim.logo(
            _token(request), deadline=self._deadline()
        )
        if not content:
            return Response(status_code=404)
        headers = {"cache-control": "private, max-age=3600"}
        return Response(content, media_type="image/png", headers=headers)

    async def _bundle(self, request: Request, visitor: Visitor) -> Response:
        """The .pkpass, for the browser that has claimed it."""
        token, deadline = _token(request), self._deadline()
        resolved = await self._use_cases.resolve_claim(token, own_key(request), deadline=deadline)
        if resolved.pass_id is None:
            return RedirectResponse(f"../{token}", status_code=303)
        served = await self._use_cases.serve_pass.bundle_of(resolved.caller, resolved.pass_id)
        headers = {
            "content-disposition": 'attachment; filename="pass.pkpass"',
            "last-modified": format_http_date(served.version.last_modified),
        }
        return Response(served.content, media_type=_PKPASS, headers=headers)

    def _guarded(
        self, handler: Callable[[Request, Visitor], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The handler; what it cannot do is told as a page, without the reason's own words."""

        async def enter(request: Request) -> Response:
            visitor = self._view.visitor(
                user_agent=request.headers.get("user-agent", "")[:1000],
                accepted=request.headers.get("accept-language", ""),
                wanted=request.query_params.get("lang", "")[:20],
                wallet=request.query_params.get("wallet", "")[:20],
            )
            try:
                answer = await handler(request, visitor)
            except AppError as error:
                answer = self._refuse(error, request, visitor)
            except BodyTooLarge:
                answer = Response(status_code=413)
            except ClientDisconnect:
                answer = Response(status_code=CLIENT_CLOSED)
            answer.headers["referrer-policy"] = "no-referrer"
            answer.headers.setdefault("cache-control", "no-store")
            answer.headers["vary"] = "accept-language, cookie, user-agent"
            return answer

        return enter

    def _refuse(self, error: AppError, request: Request, visitor: Visitor) -> Response:
        if error.kind is ErrorKind.INTERNAL:
            raise error
        if error.kind in (ErrorKind.NOT_FOUND, ErrorKind.PERMISSION_DENIED):
            page = ClaimPage(state="UNKNOWN", heading="unknown_title")
            return self._html(page, visitor, status=404)
        self._log.info("claim.not_served", reason=error.reason.value)
        if error.kind is ErrorKind.EXHAUSTED and error.retry_after is not None:
            page = ClaimPage(state="LIMITED", heading="limited_title")
            answer = self._html(page, visitor, status=429)
            answer.headers["retry-after"] = str(math.ceil(error.retry_after.total_seconds()))
            return answer
        page = ClaimPage(state="UNAVAILABLE", heading="busy_title")
        answer = self._html(page, visitor, status=503)
        answer.headers["retry-after"] = _BUSY_SECONDS
        if request.method == "GET":
            answer.headers["refresh"] = _BUSY_SECONDS
        return answer

    def _html(self, page: ClaimPage, visitor: Visitor, *, status: int = 200) -> Response:
        html, nonce = self._view.render(page, visitor)
        headers = headers_of(visitor.language, nonce)
        return Response(html, status_code=status, media_type="text/html", headers=headers)

    def _file(self, content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
        async def serve(_: Request) -> Response:
            headers = {"cache-control": "public, max-age=600"}
            return Response(content, media_type=media_type, headers=headers)

        return serve

    def _keep_key(self, answer: Response, token: str, claim_key: str) -> None:
        keep_key(answer, token, claim_key, is_encrypted=self._is_encrypted)

    def _url(self, token: str) -> str:
        """'' where nobody has said what it begins with: never what a request says of itself."""
        return "" if self._public_url is None else f"{self._public_url}/p/{token}"

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._request_seconds


def _token(request: Request) -> str:
    """AppError NOT_FOUND for what is none, before anything is done with it."""
    token: str = request.path_params["token"]
    if not is_claim_token(token):
        raise AppError(reason=Reason.NOT_FOUND, message="No claim link with this token.")
    return token


async def _read_form(request: Request) -> Mapping[str, str]:
    """The form, the first of each name. BodyTooLarge; what is no form is an empty one."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_FORM_BYTES:
            raise BodyTooLarge
        chunks.append(chunk)
    form: dict[str, str] = {}
    try:
        text = b"".join(chunks).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        return {}
    for name, value in pairs:
        form.setdefault(name, value)
    return form


def _answers(form: Mapping[str, str]) -> ClaimAnswers:
    slot, consent = f"{FieldKind.SLOT.value}.", f"{FieldKind.CONSENT.value}."
    return ClaimAnswers(
        name=form.get(FieldKind.NAME.value, ""),
        phone=form.get(FieldKind.PHONE.value, ""),
        email=form.get(FieldKind.EMAIL.value, ""),
        values={
            name.removeprefix(slot): text for name, text in form.items() if name.startswith(slot)
        },
        consents=tuple(name.removeprefix(consent) for name in form if name.startswith(consent)),
    )
