"""Reward sign-ups, as Wallet sends them.

https://developer.apple.com/documentation/walletpasses/return-a-personalized-pass
"""

from __future__ import annotations

from typing import Final

from passmill.domain.personalizations import BadSignUp, parse_sign_up
from passmill.edge.exchange import Answer, Request
from passmill.edge.refusals import Refusal, RefusalReason
from passmill.usecases.personalize_pass import PersonalizePass

_MAX_BYTES: Final = 16 << 10
_OCTETS: Final = (b"content-type", b"application/octet-stream")


class Personalize:
    """POST /v1/passes/{pass type}/{serial number}/personalize.

    It comes without a token of ours. A pass that is not there, one that asks for no sign-up (any
    more) and one of another pass type are told apart by nothing: 404.
    """

    __slots__ = ("_personalize_pass",)

    def __init__(self, *, personalize_pass: PersonalizePass) -> None:
        self._personalize_pass = personalize_pass

    async def __call__(self, request: Request) -> Answer:
        """The detached CMS over the token. Refusal MALFORMED, NOT_FOUND."""
        pass_type, serial_number = request.segment(2), request.segment(3)
        try:
            sign_up = parse_sign_up(await request.body(at_most=_MAX_BYTES))
        except BadSignUp:
            raise Refusal(RefusalReason.MALFORMED) from None
        if pass_type is None or serial_number is None:
            raise Refusal(RefusalReason.NOT_FOUND)
        signature = await self._personalize_pass(
            pass_type, serial_number, sign_up, deadline=request.deadline
        )
        if signature is None:
            raise Refusal(RefusalReason.NOT_FOUND)
        return Answer(status=200, headers=(_OCTETS,), body=signature)
