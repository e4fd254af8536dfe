"""What is asked of the service: the one place that calls it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID, uuid5

from passmill_client import Client, messages
from passmill_client.values import to_timestamp
from passmill_pos.answers import (
    outcome_of_entry,
    outcome_of_offline_scan,
    outcome_of_payment,
    outcome_of_redemption,
    outcome_of_reversal,
    outcome_of_reversed_entry,
    outcome_of_stay,
    refusal_name,
    verdict_of_refusal,
)
from passmill_pos.intents import Action, Entry, Intent
from passmill_pos.outcomes import Json, Outcome
from passmill_pos.scanned_text import NamedBy, PassName

HOLD_FOR: Final = timedelta(hours=24)
"""So long a payment that was told to staff may wait to be sent."""

_KINDS: Final = {
    Action.EARN: messages.ENTRY_KIND_EARN,
    Action.BURN: messages.ENTRY_KIND_BURN,
}


class NoSuchPass(Exception):
    """The name is of no pass, or of several; `outcome` is what to tell."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Unsendable(Exception):
    """No message can hold what is to be done: a number is too large, or a text is none."""


def check_sendable(intent: Intent) -> None:
    """Unsendable, before anything of it is noted or sent."""
    try:
        if intent.name is not None:
            _scan_ref(intent.name)
        messages.Money(minor_units=intent.total, currency_code=intent.currency)
        messages.EntryDraft(
            unit=intent.unit,
            amount=intent.amount,
            reference=intent.reference,
            venue=intent.venue_id,
        )
        messages.RedeemPassRequest(offer_id=intent.offer_id, staff=intent.staff)
    except ValueError:
        raise Unsendable("a number is too large, or a text is not UTF-8") from None


class Service:
    """The service as a counter sees it. PassmillError from every method."""

    def __init__(self, client: Client, *, is_scanner: bool, timeout_seconds: float) -> None:
        """`is_scanner`: the key is a scanner's, which is where it was enrolled."""
        self._client = client
        self._is_scanner = is_scanner
        self.timeout_seconds = timeout_seconds

    def verify(self, name: PassName, *, venue_id: str) -> messages.VerifyPassResponse:
        """What the passes of this name are worth, here and now."""
        return self._client.verify_pass(
            _scan_ref(name), venue_id=self._venue(venue_id), timeout=self.timeout_seconds
        )

    def offline_bundle(self, digest: bytes) -> messages.GetOfflineBundleResponse:
        """What offline checks need. `digest`: of what is at hand."""
        return self._client.get_offline_bundle(digest=digest, timeout=self.timeout_seconds)

    def offers(self, *, venue_id: str) -> Sequence[messages.Offer]:
        """The offers that are in use here."""
        config = self._client.get_scanner_config(
            venue_id=self._venue(venue_id), timeout=self.timeout_seconds
        )
        return config.offers

    def scan(self, entry: Entry) -> Outcome:
        """Redeems, checks in or checks out, under the entry's key."""
        intent = entry.intent
        ref = _scan_ref(intent.pass_name)
        venue_id = self._venue(intent.venue_id)
        match intent.action:
            case Action.REDEEM:
                return outcome_of_redemption(
                    self._client.redeem_pass(
                        ref,
                        intent.offer_id,
                        venue_id=venue_id,
                        staff=intent.staff,
                        scan_time=entry.noted,
                        request_id=entry.key,
                        timeout=self.timeout_seconds,
                    )
                )
            case Action.CHECK_IN | Action.CHECK_OUT:
                is_in = intent.action is Action.CHECK_IN
                move = self._client.check_in if is_in else self._client.check_out
                return outcome_of_stay(
                    move(
                        ref,
                        venue_id=venue_id,
                        staff=intent.staff,
                        scan_time=entry.noted,
                        request_id=entry.key,
                        timeout=self.timeout_seconds,
                    )
                )
            case _:
                raise ValueError(f"{intent.action} is no scan")

    def tell_scans(self, entries: Sequence[Entry], *, seconds: float) -> list[Outcome]:
        """Tells of scans that were made while the service was not reached, all of one venue."""
        results = self._client.sync_offline_scans(
            [_offline_scan(entry) for entry in entries],
            venue_id=self._venue(entries[0].intent.venue_id),
            timeout=seconds,
        )
        by_sequence = {result.local_sequence: result for result in results}
        return [outcome_of_offline_scan(by_sequence[entry.sequence]) for entry in entries]

    def find_pass_id(self, name: PassName, *, venue_id: str) -> str:
        """Which pass a name is of. NoSuchPass."""
        if name.by is NamedBy.PASS_ID:
            return name.text
        answer = self.verify(name, venue_id=venue_id)
        if len(answer.passes) == 1:
            return answer.passes[0].pass_id
        refusal = refusal_name(answer.reason) or "unknown_code"
        reason = "several_passes" if answer.passes else refusal
        references: list[Json] = [each.reference_id for each in answer.passes]
        facts: dict[str, Json] = {"reference_ids": references} if references else {}
        raise NoSuchPass(Outcome(verdict=verdict_of_refusal(reason), reason=reason, facts=facts))

    def post(self, entry: Entry) -> Outcome:
        """Posts an entry of the ledger under its key; its pass_id is known."""
        intent = entry.intent
        answer = self._client.post_entry(
            _KINDS[intent.action],
            intent.amount,
            unit=intent.unit,
            reference=intent.reference,
            venue=intent.venue_id,
            occur_time=entry.noted,
            pass_id=entry.pass_id,
            request_id=entry.key,
            timeout=self.timeout_seconds,
        )
        return outcome_of_entry(answer, intent.unit)

    def post_many(self, entries: Sequence[Entry], *, seconds: float) -> list[Outcome]:
        """Posts entries of the ledger that were noted before, whose pass_ids are known."""
        outcomes = self._client.batch_post_entries(
            [
                messages.KeyedEntry(
                    request_id=entry.key,
                    ref=messages.PassRef(pass_id=entry.pass_id),
                    entry=_draft(entry),
                )
                for entry in entries
            ],
            timeout=seconds,
        )
        by_key = {outcome.request_id: outcome for outcome in outcomes}
        return [outcome_of_entry(by_key[entry.key], entry.intent.unit) for entry in entries]

    def hold_for_sale(self, entry: Entry) -> tuple[Outcome, str]:
        """Holds what a sale may be paid by, under the entry's key: the amounts, and the hold's id
        when there is one."""
        intent = entry.intent
        answer = self._client.pay_sale(
            messages.Money(minor_units=intent.total, currency_code=intent.currency),
            unit=intent.unit,
            max_amount=intent.amount,
            only_hold=True,
            duration=HOLD_FOR,
            reference=intent.reference,
            venue=intent.venue_id,
            pass_id=entry.pass_id,
            request_id=entry.key,
            timeout=self.timeout_seconds,
        )
        facts: dict[str, Json] = {
            "unit": intent.unit,
            "amount": answer.amount,
            "paid": answer.paid.minor_units,
            "due": answer.due.minor_units if answer.HasField("due") else intent.total,
            "currency": intent.currency,
        }
        outcome = outcome_of_payment(answer.refusal, answer.balance, facts)
        return outcome, answer.hold.hold_id

    def capture(self, entry: Entry) -> Outcome:
        """Spends what is held for a sale."""
        details = json.loads(entry.details)
        answer = self._client.capture_hold(
            details["hold_id"],
            reference=entry.intent.reference,
            venue=entry.intent.venue_id,
            request_id=_second_key(entry, "capture"),
            timeout=self.timeout_seconds,
        )
        return outcome_of_payment(answer.refusal, answer.balance, details["facts"])

    def release(self, entry: Entry) -> None:
        """Frees what was held for a sale that the service may or may not have heard of."""
        _, hold_id = self.hold_for_sale(entry)
        if hold_id:
            self._client.release_hold(
                hold_id,
                request_id=_second_key(entry, "release"),
                timeout=self.timeout_seconds,
            )

    def reverse(self, entry: Entry) -> Outcome:
        """Takes a redemption or an entry of the ledger back, under the entry's key."""
        intent = entry.intent
        if intent.action is Action.REVERSE_REDEMPTION:
            return outcome_of_reversal(
                self._client.reverse_redemption(
                    intent.target_id,
                    reason=intent.reference,
                    request_id=entry.key,
                    timeout=self.timeout_seconds,
                )
            )
        return outcome_of_reversed_entry(
            self._client.reverse_entry(
                entry_id=intent.target_id,
                reference=intent.reference,
                request_id=entry.key,
                timeout=self.timeout_seconds,
            )
        )

    def _venue(self, venue_id: str) -> str:
        return "" if self._is_scanner else venue_id


def _second_key(entry: Entry, act: str) -> UUID:
    """The request id of an entry's second call: the same each time."""
    return uuid5(UUID(entry.key), act)


def _scan_ref(name: PassName) -> messages.ScanRef:
    ref = messages.ScanRef()
    setattr(ref, name.by.value, name.text)
    return ref


def _offline_scan(entry: Entry) -> messages.OfflineScan:
    intent = entry.intent
    scan = messages.OfflineScan(
        local_sequence=entry.sequence,
        ref=_scan_ref(intent.pass_name),
        scan_time=to_timestamp(entry.noted),
        staff=intent.staff,
    )
    match intent.action:
        case Action.REDEEM:
            scan.redeem.offer_id = intent.offer_id
        case Action.CHECK_IN:
            scan.check_in.SetInParent()
        case Action.CHECK_OUT:
            scan.check_out.SetInParent()
        case _:
            raise ValueError(f"{intent.action} is no scan")
    return scan


def _draft(entry: Entry) -> messages.EntryDraft:
    intent: Intent = entry.intent
    return messages.EntryDraft(
        unit=intent.unit,
        kind=_KINDS[intent.action],
        amount=intent.amount,
        reference=intent.reference,
        venue=intent.venue_id,
        occur_time=to_timestamp(entry.noted),
    )
