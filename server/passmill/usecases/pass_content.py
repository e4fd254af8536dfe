"""What a pass shows: drafts checked against their template, passes made ready to render."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.apple import PassData, encode_pass_data, expires_at
from passmill.domain.callers import Caller
from passmill.domain.ids import PassId, SerialNumbers, TenantId
from passmill.domain.pass_tokens import PassTokens
from passmill.domain.passes import Holder, PassDraft, PassState, WalletPass
from passmill.domain.reference_ids import format_reference_id
from passmill.domain.tags import canonical_tags, tag_problems
from passmill.domain.telephones import is_e164, without_punctuation
from passmill.domain.values import Value, values_from_json, values_to_json
from passmill.errors import AppError, FieldError, Reason
from passmill.signing.revisions import LoadedRevision, PassTooLarge
from passmill.usecases.tenant_numbers import TenantNumbers

_WANTED_PHONE = 'must be a number with country code, such as "+12065550123"'


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDraft:
    """A draft that fits its template: texts normalised, values without empty ones."""

    holder: Holder
    values: Mapping[str, Value]
    slot_values: str
    tags: tuple[str, ...]


def check_draft(
    loaded: LoadedRevision, draft: PassDraft, *, path: str, partial: bool = False
) -> CheckedDraft:
    """The draft as it will be issued. AppError INVALID_VALUES names every field that does not fit,
    below `path`. `partial`: it is to be laid over a pass, so nothing is missed in it."""
    phone = without_punctuation(draft.holder.phone)
    checked = loaded.rules.check(
        draft.values, holder_name=draft.holder.name, holder_phone=phone, partial=partial
    )
    problems = list(draft.problems)
    problems += checked.violations
    if draft.tags:
        problems += tag_problems(draft.tags, path="tags")
    if phone and not is_e164(phone):
        problems.append(FieldError(path="holder.phone", message=_WANTED_PHONE))
    if problems:
        raise invalid_values(
            [FieldError(path=f"{path}.{each.path}", message=each.message) for each in problems]
        )
    return CheckedDraft(
        holder=Holder(
            name=checked.holder_name,
            phone=checked.holder_phone,
            external_ids=draft.holder.external_ids,
        ),
        values=checked.values,
        slot_values=values_to_json(checked.values),
        tags=canonical_tags(draft.tags),
    )


def invalid_values(fields: list[FieldError]) -> AppError:
    """One refusal that names every field."""
    more = f" ({len(fields) - 1} more)" if len(fields) > 1 else ""
    return AppError(
        reason=Reason.INVALID_VALUES,
        message=f"{fields[0].path}: {fields[0].message}{more}",
        fields=fields,
    )


@dataclass(frozen=True, slots=True)
class TenantContent:
    """Encodes the passes of one tenant for rendering."""

    tenant_id: TenantId
    serial_numbers: SerialNumbers
    tokens: PassTokens

    def serial_number(self, pass_id: PassId) -> str:
        """Apple's serial number of a pass."""
        return self.serial_numbers.of(pass_id)

    def encode(self, wallet_pass: WalletPass) -> bytes:
        """The line that a pass is rendered from, as it must be now."""
        return encode_pass_data(self._pass_data(wallet_pass, {}), wallet_pass.slot_values)

    def expires_at(
        self, loaded: LoadedRevision, wallet_pass: WalletPass, values: Mapping[str, Value]
    ) -> datetime | None:
        """When a pass expires, as it shows; None when it does not."""
        return expires_at(loaded.content, self._pass_data(wallet_pass, values))

    def _pass_data(self, wallet_pass: WalletPass, values: Mapping[str, Value]) -> PassData:
        return PassData(
            serial_number=self.serial_numbers.of(wallet_pass.pass_id),
            authentication_token=self.tokens.of(
                self.tenant_id, wallet_pass.pass_id, wallet_pass.token_generation
            ),
            reference_id=format_reference_id(wallet_pass.reference_number),
            holder_name=wallet_pass.holder.name,
            holder_phone=wallet_pass.holder.phone,
            values=values,
            voided=wallet_pass.state is PassState.VOIDED,
            expires_at=wallet_pass.expire_time,
        )


@contextmanager
def size_refused(values: Mapping[str, Value], *, path: str) -> Iterator[None]:
    """Where a pass is rendered: AppError INVALID_VALUES, naming the longest of its values, in place
    of PassTooLarge."""
    try:
        yield
    except PassTooLarge as error:
        longest = max(values, key=lambda name: len(str(values[name])), default="")
        message = "makes the pass more than two mebibytes long, which no pass may be; shorten it"
        field = FieldError(path=f'{path}.values["{longest}"]', message=message)
        raise invalid_values([field]) from error


def stored_values(loaded: LoadedRevision, wallet_pass: WalletPass) -> Mapping[str, Value]:
    """A pass's values as its revision's slots read them."""
    return values_from_json(loaded.content.slots, wallet_pass.slot_values)


def digest_of(pass_json: bytes) -> bytes:
    """What the manifest says of pass.json: SHA-1, which Apple's format prescribes
    (https://developer.apple.com/documentation/walletpasses/building-a-pass)."""
    return hashlib.sha1(pass_json, usedforsecurity=False).digest()


class PassContents:
    """Gives each tenant its encoder."""

    __slots__ = ("_numbers", "_tokens")

    def __init__(self, *, numbers: TenantNumbers, tokens: PassTokens) -> None:
        self._numbers = numbers
        self._tokens = tokens

    async def of(self, caller: Caller) -> TenantContent:
        """The encoder of the caller's tenant."""
        serial_numbers = await self._numbers.serial_numbers(caller)
        return TenantContent(caller.tenant_id, serial_numbers, self._tokens)
