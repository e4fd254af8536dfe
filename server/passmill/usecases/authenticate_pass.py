"""Let a device in: whoever has a pass's token may fetch that pass, and no other."""

from __future__ import annotations

from dataclasses import dataclass

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.ids import PassId
from passmill.domain.pass_tokens import PassTokens
from passmill.store.registrations import PassKey
from passmill.usecases.pass_types import PassTypes
from passmill.usecases.tenant_numbers import TenantNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticPass:
    """A pass whose token was given. That there is one, of this pass type and with this generation
    of tokens, is not known yet: its row says so."""

    caller: Caller
    pass_id: PassId
    pass_type_identifier: str
    token_generation: int

    @property
    def key(self) -> PassKey:
        """What must be true of its row."""
        return PassKey(
            pass_id=self.pass_id,
            token_generation=self.token_generation,
            pass_type_identifier=self.pass_type_identifier,
        )


class AuthenticatePass:
    """Knows passes by their tokens. Asks the database for nothing but what it has not heard of its
    tenants yet: a wrong token costs no read."""

    __slots__ = ("_numbers", "_pass_types", "_tokens")

    def __init__(
        self, *, pass_types: PassTypes, numbers: TenantNumbers, tokens: PassTokens
    ) -> None:
        self._pass_types = pass_types
        self._numbers = numbers
        self._tokens = tokens

    async def __call__(
        self, pass_type_identifier: str, serial_number: str, token: str, *, deadline: float
    ) -> AuthenticPass | None:
        """The pass that the token belongs to, None when it is not this one's. Where several tenants
        have the pass type, the token tells whose pass it is.

        `deadline`: of the whole request, by the event loop's clock. AppError UNAVAILABLE,
        DEADLINE_EXCEEDED.
        """
        # Nearly always all is at hand; then nothing here waits, which is half of what it costs.
        tenants = self._pass_types.find(pass_type_identifier)
        if tenants is None:
            tenants = await self._pass_types.tenants(pass_type_identifier, deadline=deadline)
        for tenant_id in tenants:
            caller = internal_caller(tenant_id, deadline=deadline)
            serial_numbers = self._numbers.find_serial_numbers(tenant_id)
            if serial_numbers is None:
                serial_numbers = await self._numbers.serial_numbers(caller)
            pass_id = serial_numbers.find(serial_number)
            if pass_id is None:
                return None  # no tenant's serial numbers look so
            generation = self._tokens.find_generation(tenant_id, pass_id, token)
            if generation is not None:
                return AuthenticPass(
                    caller=caller,
                    pass_id=pass_id,
                    pass_type_identifier=pass_type_identifier,
                    token_generation=generation,
                )
        return None
