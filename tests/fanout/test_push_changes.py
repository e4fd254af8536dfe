"""A change reaches the phones that hold the pass."""

from __future__ import annotations

from passmill.domain.registrations import Wallet
from tests.support.fan_out import FanOut


async def test_a_change_is_pushed_to_all_who_hold_the_pass(fan_out: FanOut) -> None:
    """Each device that holds the pass is pushed once, and nobody else."""
    changed = await fan_out.club.issue()
    other = await fan_out.club.issue()
    holders = [await fan_out.register(changed) for _ in range(3)]
    await fan_out.register(other)
    await fan_out.register(changed, wallet=Wallet.ANDROID_PASS)
    await fan_out.change(changed, 8)
    await fan_out.all_pushed(holders)
    await fan_out.all_done()
    assert fan_out.pushed() == dict.fromkeys(holders, 1)
    assert fan_out.apns.log.protocol_errors == []
