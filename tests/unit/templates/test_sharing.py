"""The sharing policy by itself: what it counts, what it keeps, what the linter says of good
ones."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import lint
from passmill.domain.templates import FindingCode, SharingExcess, SharingPolicy
from passmill.domain.templates.sharing import policy_from_json, policy_to_json
from tests.support.lint_changes import plain

POLICIES = st.builds(
    SharingPolicy,
    max_devices=st.integers(0, 1000),
    decay_days=st.integers(0, 365),
    excess=st.sampled_from(SharingExcess),
    binds_first_device=st.booleans(),
)


@given(policy=POLICIES, devices=st.integers(0, 2000))
def test_the_limit_is_what_it_says(policy: SharingPolicy, devices: int) -> None:
    """So many devices may have a pass and not one more; 0 limits nothing."""
    expected = policy.max_devices > 0 and devices >= policy.max_devices + 1
    assert policy.is_exceeded(devices) is expected


@given(policy=POLICIES)
def test_what_is_kept_is_what_was_said(policy: SharingPolicy) -> None:
    """A policy that limits is read as it was written; one that does not is not written."""
    text = policy_to_json(policy)
    assert (text is None) is (policy.max_devices == 0)
    if text is not None:
        assert policy_from_json(text) == policy
    assert policy_to_json(None) is None


def test_days_of_decay() -> None:
    """Devices count from so many days ago on, all of them where there is no decay."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    decaying = SharingPolicy(max_devices=1, decay_days=30, excess=SharingExcess.FLAG)
    assert decaying.counted_since(now) == now - timedelta(days=30)
    forever = SharingPolicy(max_devices=1, excess=SharingExcess.FLAG)
    assert forever.counted_since(now) is None


@pytest.mark.parametrize("excess", SharingExcess)
def test_a_kind_policy_has_no_findings(excess: SharingExcess) -> None:
    """Two devices and a decay are fine, bound or not, whatever the excess."""
    for binds in (False, True):
        policy = SharingPolicy(
            max_devices=2, decay_days=30, excess=excess, binds_first_device=binds
        )
        findings = lint(plain(sharing=policy), {}, nfc_capable=True)
        assert FindingCode.SHARING not in {each.code for each in findings}
