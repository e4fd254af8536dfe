"""What a pass shows: drafts checked against their template, passes made ready to render."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from passmill.domain.apple import PassData, encode_pass_data, expires_at
from passmill.domain.barcodes import BarcodeHandles, format_signed
from passmill.domain.callers import Caller
from passmill.domain.ids import PassId, SerialNumbers, TenantId
from passmill.domain.pass_tokens import PassTokens
from passmill.domain.passes import Holder, PassDraft, PassState, WalletPass
from passmill.domain.reference_ids import format_reference_id
from passmill.domain.tags import canonical_tags, tag_problems
from passmill.domain.telephones import is_e164, without_punctuation
from passmill.domain.templates import BarcodeKind
from passmill.domain.values import Value, values_from_json, values_to_json
from passmill.errors import AppError, FieldError, Reason
from passmill.signing.revisions import LoadedRevision, PassTooLarge
from passmill.usecases.seal_barcodes import BarcodeSealer, SealBarcodes
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


def not_the_ledgers(
    own: Mapping[str, Value], wanted: Mapping[str, Value | None], ledger_slots: Set[str]
) -> list[FieldError]:
    """What is wrong about values (None: the default) for a pass that has `own`: where it shows a
    balance or a tier it shows the ledger's alone."""
    return [
        FieldError(
            path=f'values["{name}"]',
            message="the slot shows what is in the ledger; post an entry there instead",
        )
        for name in sorted(ledger_slots & wanted.keys())
        if wanted[name] != own.get(name)
    ]


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
    """Encodes the passes of one tenant for rendering. `sealer`: for those who make content."""

    tenant_id: TenantId
    serial_numbers: SerialNumbers
    tokens: PassTokens
    handles: BarcodeHandles
    sealer: BarcodeSealer | None = None

    def serial_number(self, pass_id: PassId) -> str:
        """Apple's serial number of a pass."""
        return self.serial_numbers.of(pass_id)

    def encode(self, loaded: LoadedRevision, wallet_pass: WalletPass) -> bytes:
        """The line that a pass is rendered from in its revision, as it must be now."""
        return encode_pass_data(
            self._pass_data(wallet_pass, {}, barcode=self._barcode(loaded, wallet_pass)),
            wallet_pass.slot_values,
        )

    def sealed(
        self, loaded: LoadedRevision, wallet_pass: WalletPass, *, before: WalletPass | None = None
    ) -> WalletPass:
        """A pass about to be made, or changed from what it was `before`, with the seal that its
        barcode needs in its revision; some 50 microseconds where it needs another one. From any
        thread."""
        if loaded.barcode_kind is not BarcodeKind.SIGNED:
            if wallet_pass.barcode_seal is None:
                return wallet_pass
            return replace(wallet_pass, barcode_seal=None)
        # With another revision comes another seal: so a rotated key reaches passes by roll-outs.
        is_moved = before is None or before.revision_id != loaded.revision.revision_id
        seal = self._require_sealer().seal(
            wallet_pass.pass_id.bytes,
            expire_time=_expire_time(loaded, wallet_pass.expire_time, wallet_pass.slot_values),
            before=None if is_moved else wallet_pass.barcode_seal,
        )
        return replace(wallet_pass, barcode_seal=seal)

    def barcodes_of_many(
        self,
        loaded: LoadedRevision,
        pass_ids: Sequence[bytes],
        *,
        expire_times: Sequence[datetime | None],
        slot_values: Sequence[str],
    ) -> tuple[list[str] | None, list[bytes] | None]:
        """The barcodes of new passes of one revision, each given by the 16 bytes of its id, a list
        a column, and their seals: None where there are none. From any thread."""
        match loaded.barcode_kind:
            case None:
                return None, None
            case BarcodeKind.HANDLE:
                return self.handles.of_many(pass_ids), None
            case BarcodeKind.SIGNED:
                sealer = self._require_sealer()
                seals = [
                    sealer.seal(pass_id, expire_time=_expire_time(loaded, own, values), before=None)
                    for pass_id, own, values in zip(
                        pass_ids, expire_times, slot_values, strict=True
                    )
                ]
                texts = [
                    format_signed(self.tenant_id, pass_id, seal)
                    for pass_id, seal in zip(pass_ids, seals, strict=True)
                ]
                return texts, seals
            case _:
                assert_never(loaded.barcode_kind)

    def expires_at(
        self, loaded: LoadedRevision, wallet_pass: WalletPass, values: Mapping[str, Value]
    ) -> datetime | None:
        """When a pass expires, as it shows; None when it does not."""
        return expires_at(loaded.content, self._pass_data(wallet_pass, values))

    def _require_sealer(self) -> BarcodeSealer:
        if self.sealer is None:
            raise RuntimeError("The content was not asked for to make passes of this revision.")
        return self.sealer

    def _barcode(self, loaded: LoadedRevision, wallet_pass: WalletPass) -> str:
        match loaded.barcode_kind:
            case None:
                return ""
            case BarcodeKind.HANDLE:
                return self.handles.of(wallet_pass.pass_id)
            case BarcodeKind.SIGNED:
                if (seal := wallet_pass.barcode_seal) is None:
                    return ""
                return format_signed(self.tenant_id, wallet_pass.pass_id.bytes, seal)
            case _:
                assert_never(loaded.barcode_kind)

    def _pass_data(
        self, wallet_pass: WalletPass, values: Mapping[str, Value], *, barcode: str = ""
    ) -> PassData:
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
            barcode=barcode,
        )


def _expire_time(loaded: LoadedRevision, own: datetime | None, values: str) -> datetime | None:
    """When a pass expires, from its own date and its stored values."""
    if own is not None or not loaded.content.expires:
        return own
    pass_data = PassData(
        serial_number="",
        authentication_token="",
        reference_id="",
        values=values_from_json(loaded.content.slots, values),
    )
    return expires_at(loaded.content, pass_data)


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


def still_fits(
    loaded: LoadedRevision, current: WalletPass
) -> Callable[[Mapping[str, object]], bool]:
    """Whether the pass with other values, in their stored form, breaks no rule of its revision that
    it keeps with those it has."""

    def broken(stored: Mapping[str, object]) -> set[str]:
        values = values_from_json(loaded.content.slots, json.dumps(stored))
        checked = loaded.rules.check(
            values, holder_name=current.holder.name, holder_phone=current.holder.phone
        )
        return {each.path for each in checked.violations}

    before = broken(json.loads(current.slot_values))
    return lambda stored: broken(stored) <= before


def digest_of(pass_json: bytes) -> bytes:
    """What the manifest says of pass.json: SHA-1, which Apple's format prescribes
    (https://developer.apple.com/documentation/walletpasses/building-a-pass)."""
    return hashlib.sha1(pass_json, usedforsecurity=False).digest()


class PassContents:
    """Gives each tenant its encoder."""

    __slots__ = ("_handles", "_numbers", "_seal_barcodes", "_tokens")

    def __init__(
        self,
        *,
        numbers: TenantNumbers,
        tokens: PassTokens,
        seal_barcodes: SealBarcodes | None = None,
    ) -> None:
        """`seal_barcodes`: None where no content is made, as at the edge."""
        self._numbers = numbers
        self._tokens = tokens
        self._seal_barcodes = seal_barcodes
        self._handles: dict[TenantId, BarcodeHandles] = {}

    async def of(self, caller: Caller) -> TenantContent:
        """The encoder of the caller's tenant, for passes as they are."""
        return await self._of(caller, sealer=None)

    async def to_make(self, caller: Caller, revisions: Iterable[LoadedRevision]) -> TenantContent:
        """The encoder for passes that are made or changed, in any of these revisions. AppError
        UNAVAILABLE, DEADLINE_EXCEEDED."""
        sealer = None
        if any(each.barcode_kind is BarcodeKind.SIGNED for each in revisions):
            if self._seal_barcodes is None:
                raise RuntimeError("No content is made here.")
            sealer = await self._seal_barcodes(caller)
        return await self._of(caller, sealer=sealer)

    async def _of(self, caller: Caller, *, sealer: BarcodeSealer | None) -> TenantContent:
        tenant_id = caller.tenant_id
        handles = self._handles.get(tenant_id)
        if handles is None:
            handles = self._handles[tenant_id] = self._tokens.barcode_handles(tenant_id)
        return TenantContent(
            tenant_id=tenant_id,
            serial_numbers=await self._numbers.serial_numbers(caller),
            tokens=self._tokens,
            handles=handles,
            sealer=sealer,
        )
