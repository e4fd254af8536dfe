"""Rules for the sharing policy: it must not lock out whoever the pass was issued for.

That a watch registers by itself, and that a new phone comes before its forerunner's token is known
to be gone, follows from how devices register
(https://developer.apple.com/documentation/walletpasses/register-a-pass-for-update-notifications).
"""

from __future__ import annotations

from passmill.domain.apple.lint.report import Report
from passmill.domain.templates.findings import FindingCode
from passmill.domain.templates.sharing import SharingExcess

_CODE = FindingCode.SHARING
_HARD = frozenset({SharingExcess.REFUSE, SharingExcess.VOID_AND_REISSUE})


def check_sharing(report: Report) -> None:
    """That phones can be changed, and a watch be worn beside them."""
    policy = report.content.sharing
    if policy is None:
        return
    if not policy.is_limited:
        message = "limits nothing as long as it is 0; set it, or leave the policy out"
        report.warn(_CODE, "sharing.max_devices", message)
        return
    if not policy.decay_days and (policy.excess in _HARD or policy.binds_first_device):
        message = "without it whoever changes phones is locked out; set it, to 30 for example"
        report.error(_CODE, "sharing.decay_days", message)
    if policy.max_devices > 1:
        return
    if policy.excess is SharingExcess.VOID_AND_REISSUE:
        message = (
            "a holder's watch registers beside the phone, so each of his passes would be voided; "
            "set it to 2 or more"
        )
        report.error(_CODE, "sharing.max_devices", message)
    else:
        message = "a holder's watch registers beside the phone and is one too many; 2 leaves room"
        report.warn(_CODE, "sharing.max_devices", message)
