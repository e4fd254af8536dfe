"""A service that breaks in every way while thousands are pushed; `make push-faults` is the long
run."""

from __future__ import annotations

from tests.push.scenario import FAULTS, Plan, run
from tests.push.trust import PushTrust


def test_faults_lose_nothing(trust: PushTrust) -> None:
    """Every kind of fault once: each push has an outcome, each is accepted, those called accepted
    were, and twice came at most what was on its way when something broke."""
    plan = Plan(pushes=6000, faults=len(FAULTS), ping_seconds=3.0, deadline_seconds=15.0)
    done = run(plan, trust)
    assert done.played.keys() == FAULTS.keys()
    assert done.unresolved == 0
    assert done.failed == []
    assert done.lost == 0
    assert done.duplicates <= done.most_duplicates
    assert done.protocol_errors == []
