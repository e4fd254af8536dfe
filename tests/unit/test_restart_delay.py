"""How long the supervisor waits before it starts a process again."""

from hypothesis import given
from hypothesis import strategies as st

from passmill.supervisor import RestartDelay


def test_a_crash_loop_slows_down() -> None:
    """A process that dies at once is started again at once ten times; then it waits twice as long
    each time, up to half a minute."""
    delay = RestartDelay()
    assert [delay.after(0) for _ in range(10)] == [0.1] * 10
    assert [delay.after(0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_one_that_dies_after_its_start_slows_down_too() -> None:
    """Half a second of life each time is no more than a crash loop: the wait reaches its most."""
    delay = RestartDelay()
    waits = [delay.after(0.5) for _ in range(20)]
    assert waits[:10] == [0.1] * 10
    assert waits == sorted(waits)
    assert waits[-1] == 30


@given(lives=st.lists(st.floats(0, 1e6), min_size=1))
def test_a_long_life_starts_over(lives: list[float]) -> None:
    """Whatever came before: after two minutes of life there is no wait to speak of; and it is never
    outside of a tenth of a second and half a minute."""
    delay = RestartDelay()
    for lived in lives:
        wait = delay.after(lived)
        assert 0.1 <= wait <= 30
        assert lived < 120 or wait == 0.1


@given(lives=st.lists(st.floats(6, 60), max_size=200))
def test_killed_now_and_then(lives: list[float]) -> None:
    """A process killed every few seconds, however often, is back at once each time."""
    delay = RestartDelay()
    assert all(delay.after(lived) == 0.1 for lived in lives)
