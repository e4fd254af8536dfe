"""What can be said of a pass while the service is not reached: of a signed barcode whether it is
genuine, not over and not voided; of any other name nothing. Never whether the pass was used."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passmill_pos.offline_bundle import BundleFile, OfflineBundle
from passmill_pos.outcomes import Json, Outcome, Verdict
from passmill_pos.scanned_text import NamedBy, PassName
from passmill_pos.signed_barcodes import SignedBarcode, is_meant_as_signed, parse_signed


class CheckResult(enum.StrEnum):
    """What a check came to."""

    GOOD = "good"
    REFUSED = "refused"
    OPAQUE = "opaque"  # no signed barcode: only the service can read it
    NO_BUNDLE = "no_bundle"
    STALE_BUNDLE = "stale_bundle"


_SAID: Final[Mapping[CheckResult, str]] = {
    CheckResult.GOOD: "provisional: the barcode is genuine, its use is not known here",
    CheckResult.REFUSED: "seen without the service",
    CheckResult.OPAQUE: "provisional: this cannot be checked offline",
    CheckResult.NO_BUNDLE: "provisional: to check it offline takes passmill-pos sync-bundle",
    CheckResult.STALE_BUNDLE: "provisional: what sync-bundle fetched is too old to check it by",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineCheck:
    """What a check came to. `reason`: of REFUSED. `pass_id`: as the barcode says, empty when it is
    no signed one; to be believed of GOOD alone."""

    result: CheckResult
    reason: str = ""
    pass_id: str = ""

    @property
    def message(self) -> str:
        """It for people."""
        return _SAID[self.result]

    @property
    def facts(self) -> dict[str, Json]:
        """It for programs."""
        facts: dict[str, Json] = {"offline_check": self.result.value}
        if self.result is not CheckResult.REFUSED:
            facts["provisional"] = True
        if self.result is CheckResult.GOOD:
            facts["pass_id"] = self.pass_id
        return facts

    @property
    def outcome(self) -> Outcome:
        """What became of looking at the pass."""
        match self.result:
            case CheckResult.GOOD:
                verdict, reason = Verdict.PROVISIONAL, ""
            case CheckResult.REFUSED:
                verdict, reason = Verdict.REFUSED, self.reason
            case _:
                verdict, reason = Verdict.UNREACHED, "unavailable"
        return Outcome(verdict=verdict, reason=reason, message=self.message, facts=self.facts)


class OfflineChecks:
    """Checks names of passes by the bundle that is kept."""

    def __init__(self, file: BundleFile, *, now: Callable[[], datetime]) -> None:
        """`now`: aware, UTC."""
        self._file = file
        self._now = now

    def check(self, name: PassName) -> OfflineCheck:
        """What can be said of a pass that is named so."""
        return check_name(name, self._file.read(), now=self._now())

    def max_uses(self, offer_id: str) -> int:
        """How often a pass may use an offer, 0 for without end; once when that is not known."""
        bundle = self._file.read()
        return 1 if bundle is None else bundle.max_uses.get(offer_id, 1)


def check_name(name: PassName, bundle: OfflineBundle | None, *, now: datetime) -> OfflineCheck:
    """What can be said of a pass by a bundle. A stale one is trusted only in what does not
    change."""
    if name.by is not NamedBy.BARCODE or not is_meant_as_signed(name.text):
        return OfflineCheck(result=CheckResult.OPAQUE)
    barcode = parse_signed(name.text)
    if barcode is None:
        return OfflineCheck(result=CheckResult.REFUSED, reason="unknown_code")
    reason, result = _lasting_refusal(barcode, bundle, now=now), CheckResult.GOOD
    if bundle is None:
        result = CheckResult.NO_BUNDLE
    elif not bundle.is_fresh(now):
        result = CheckResult.STALE_BUNDLE
    else:
        reason = reason or _present_refusal(barcode, bundle)
    if reason:
        return OfflineCheck(result=CheckResult.REFUSED, reason=reason)
    return OfflineCheck(result=result, pass_id=str(barcode.pass_id))


def _lasting_refusal(barcode: SignedBarcode, bundle: OfflineBundle | None, *, now: datetime) -> str:
    """Why a barcode is not good, and never will be, by any bundle; empty when that is not seen."""
    if bundle is not None:
        if barcode.tenant_id != bundle.tenant_id:
            return "wrong_tenant"
        key = bundle.keys.get(barcode.key_id)
        if key is not None and not barcode.is_signed_by(key):
            return "bad_signature"
    is_over = barcode.not_after != 0 and now.timestamp() > barcode.not_after
    return "expired_code" if is_over else ""


def _present_refusal(barcode: SignedBarcode, bundle: OfflineBundle) -> str:
    if barcode.key_id not in bundle.keys:
        # It was revoked, or never was; one made since is in the next bundle.
        return "unknown_key"
    return "voided" if bundle.is_voided(barcode.pass_id) else ""
