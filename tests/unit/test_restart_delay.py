"""How long the supervisor waits before it starts a process again."""

from hypothesis import given
from hypothesis import strategies as st

from passmill.supervisor import RestartDelay


def test_a_crash_loop_slows_down() -> None:
    """A process that dies at once waits twice as long each time, up to half a minute."""
    delay = RestartDelay()
    assert [delay.after(0.5) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


@given(lives=st.lists(st.floats(0, 1e6), min_size=1))
def test_a_long_life_starts_over(lives: list[float]) -> None:
    """Whatever came before: after a minute of life the wait is a second again, and else it is at
    least as long as the last one; it is never outside of a second and half a minute."""
    delay = RestartDelay()
    last = 1.0
    for lived in lives:
        wait = delay.after(lived)
        assert 1 <= wait <= 30
        assert wait == 1 if lived >= 60 else wait >= last
        last = wait


def test_how_long_a_long_life_is_can_be_said() -> None:
    """A place whose processes count as long-lived sooner is filled within a second sooner."""
    delay = RestartDelay(long_life_seconds=4.0)
    assert [delay.after(lived) for lived in (1, 1, 3, 5, 1)] == [1, 2, 4, 1, 2]
