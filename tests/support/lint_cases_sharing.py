"""Templates with one thing wrong in their sharing policy."""

from passmill.domain.templates import Severity, SharingExcess, SharingPolicy
from tests.support.lint_changes import C, Case, E, W, plain

_REFUSE, _REISSUE = SharingExcess.REFUSE, SharingExcess.VOID_AND_REISSUE


def _case(severity: Severity, path: str, policy: SharingPolicy) -> Case:
    content = plain(sharing=policy)
    return Case(severity=severity, code=C.SHARING, path=f"sharing.{path}", content=content)


SHARING_CASES = [
    _case(W, "max_devices", SharingPolicy(decay_days=30, excess=_REFUSE)),
    _case(W, "max_devices", SharingPolicy(max_devices=1, decay_days=30, excess=_REFUSE)),
    _case(E, "max_devices", SharingPolicy(max_devices=1, decay_days=30, excess=_REISSUE)),
    _case(E, "decay_days", SharingPolicy(max_devices=2, excess=_REFUSE)),
    _case(E, "decay_days", SharingPolicy(max_devices=2, excess=_REISSUE)),
    _case(
        E,
        "decay_days",
        SharingPolicy(max_devices=2, excess=SharingExcess.FLAG, binds_first_device=True),
    ),
]
